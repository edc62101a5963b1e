/** `conda-deploy remove` and `repair`: packages out of an environment, or the environment itself; and what a killed command left. */
import type { Command } from 'commander'
import { EnvError } from '../../errors.js'
import { addEnvironment, type ChannelFlags, commandLine, tellChange } from '../changes.js'
import { example, type Session } from '../common.js'
import { confirmed } from '../confirm.js'
import { printable } from '../text.js'

interface Flags extends ChannelFlags {
  readonly force?: boolean
  readonly runLinkScripts?: boolean
  readonly all?: boolean
  readonly yes?: boolean
}

export function addRemove(program: Command, session: Session): void {
  const command = program
    .command('remove')
    .summary('remove packages, or an environment')
    .description(
      'Remove packages, with all that need them and all that nothing needs any more; or, with --all, the environment. ' +
        'Needs no channel. All of it happens, or nothing.',
    )
    .argument('[names...]', 'names of installed packages')
  addEnvironment(command)
    .option('--force', 'only these packages: what needs them stays, and does not work')
    .option('--all', 'the environment with everything in it')
    .option('--run-link-scripts', 'run scripts of packages that act when they are unlinked; else they are named')
    .option('-d, --dry-run', 'print what would go')
  command.option('-y, --yes', 'with --all: do not ask')
  example(command, 'conda-deploy remove -n myenv scipy', 'conda-deploy remove -n myenv --all')
  command.action(async (specs: readonly string[], _: unknown, self: Command) => {
    const flags = self.optsWithGlobals<Flags>()
    const {
      name,
      prefix,
      force,
      runLinkScripts: linkScripts,
      all = false,
      dryRun = false,
      yes = false,
      threads,
    } = flags
    const { terminal, signal } = session
    const common = { name, prefix, dryRun, threads, signal, reporter: terminal }
    if (all) {
      if (specs.length > 0 || force)
        throw new EnvError('USAGE', '--all removes the environment: no packages are named with it')
      const { removeEnvironment } = await import('../../install/remove-environment.js')
      if (!dryRun && !yes) {
        const planned = await removeEnvironment({ ...common, dryRun: true })
        terminal.close()
        // Unlike packages, what is in it besides them cannot be had again.
        if (!confirmed(`${printable(planned.prefix)} goes with everything in it. Proceed`)) {
          session.status = 1
          return terminal.say('nothing was removed')
        }
      }
      const result = await removeEnvironment(common)
      terminal.result(result, result.prefix)
      terminal.say(result.removed ? 'removed' : 'would be removed with everything in it; nothing was done')
      return
    }
    const { remove } = await import('../../install/remove.js')
    tellChange(terminal, await remove({ ...common, specs, force, linkScripts, command: commandLine() }), dryRun)
  })
}

export function addRepair(program: Command, session: Session): void {
  const command = program
    .command('repair')
    .summary('put right what a killed command left in an environment')
    .description(
      'Take back, or end, a change of an environment that was killed midway. install, update and remove do the same before ' +
        'they begin. Prints what was found: nothing, cleared, taken back or finished.',
    )
  addEnvironment(command)
  example(command, 'conda-deploy repair -n myenv')
  command.action(async (_: unknown, self: Command) => {
    const { name, prefix, threads } = self.optsWithGlobals<Flags>()
    const { terminal, signal } = session
    const { repair } = await import('../../install/repair.js')
    const result = await repair({ name, prefix, threads, signal, reporter: terminal })
    terminal.result(result, result.recovered)
  })
}

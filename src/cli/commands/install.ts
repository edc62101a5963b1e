/** `conda-deploy install` and `update`: packages into an environment that is there, by the options of conda. */
import type { Command } from 'commander'
import {
  addChannels,
  addEnvironment,
  addYes,
  type ChannelFlags,
  commandLine,
  requested,
  tellChange,
} from '../changes.js'
import { example, type Session } from '../common.js'

interface Flags extends ChannelFlags {
  readonly deps?: boolean
  readonly freezeInstalled?: boolean
  readonly clobber?: boolean
  readonly all?: boolean
}

const clobber = 'replace files of nobody that stand where files of packages belong'
const promise =
  'All of it happens, or nothing: what fails or is killed leaves the environment as it was, or the next command takes it back.'

export function addInstall(program: Command, session: Session): void {
  const command = program
    .command('install')
    .summary('install packages into an environment')
    .description(
      'Install packages into an environment, without conda. What was asked for earlier still holds where it can, pins of ' +
        `conda-meta/pinned hold, python keeps its minor version unless it is named. ${promise}`,
    )
    .argument('[specs...]', "packages, e.g. numpy, 'scipy>=1.10,<2', conda-forge::zlib")
  addChannels(addEnvironment(command))
    .option('--no-deps', 'only these packages, whatever they need')
    .option('--freeze-installed', 'change nothing that is installed')
    .option('--clobber', clobber)
    .option('-d, --dry-run', 'solve and print what would change')
  addYes(command)
  example(
    command,
    'conda-deploy install -n myenv -c conda-forge scipy',
    'conda-deploy install -p ./env --file more.txt',
  )
  command.action(async (specs: readonly string[], _: unknown, self: Command) => {
    const flags = self.optsWithGlobals<Flags>()
    const { deps, freezeInstalled, clobber, dryRun = false } = flags
    const { install } = await import('../../install/install.js')
    const result = await install({
      ...requested(flags),
      ...{ specs, noDeps: deps === false, freezeInstalled, clobber, command: commandLine() },
      ...{ signal: session.signal, reporter: session.terminal },
    })
    tellChange(session.terminal, result, dryRun)
  })
}

export function addUpdate(program: Command, session: Session): void {
  const command = program
    .command('update')
    .summary('update packages of an environment')
    .description(`Update packages to the newest versions that go together with the rest. ${promise}`)
    .argument('[names...]', 'names of installed packages')
  addChannels(addEnvironment(command))
    .option('--all', 'update everything, as far as what was asked for allows it')
    .option('--clobber', clobber)
    .option('-d, --dry-run', 'solve and print what would change')
  addYes(command)
  example(command, 'conda-deploy update -n myenv numpy', 'conda-deploy update --all --dry-run')
  command.action(async (specs: readonly string[], _: unknown, self: Command) => {
    const flags = self.optsWithGlobals<Flags>()
    const { all, clobber, dryRun = false } = flags
    const { update } = await import('../../install/update.js')
    const result = await update({
      ...requested(flags),
      ...{ specs, all, clobber, command: commandLine(), signal: session.signal, reporter: session.terminal },
    })
    tellChange(session.terminal, result, dryRun)
  })
}

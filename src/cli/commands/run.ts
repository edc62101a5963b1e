/** `conda-deploy run ARCHIVE -- COMMAND…`: ends as its program ends. stdin and stdout are the program's alone. */
import { constants } from 'node:os'
import type { Command } from 'commander'
import { addSpare, asTyped, example, type Session, type SpareFlags } from '../common.js'
import { addDeployFlags, type DeployFlags, deployOptions, spareCompiler, summary } from './deploy.js'

export function addRun(program: Command, session: Session): void {
  const command = program
    .command('run')
    .summary('deploy an archive and run a program in it')
    .description(
      'Deploy an archive, or find that it is there, activate it, and run a program in it. Ends with the status of the program. ' +
        "stdout is the program's; with --json the result is the last line of stderr.",
    )
    .usage('[options] <archive> -- <command...>')
    .argument('<archive>', 'an archive of conda-deploy, conda-pack, tar or zip, or a directory')
    .argument('<command...>', 'the program and its arguments, after --')
  addSpare(addDeployFlags(command))
  example(command, 'srun conda-deploy run /shared/myenv.tar.zst -- python train.py --epochs 9')
  command.action(async (archive: string, words: string[], _: unknown, self: Command) => {
    const flags = self.optsWithGlobals<DeployFlags & SpareFlags>()
    const { terminal } = session
    const { dryRun, ...options } = deployOptions(archive, flags, session)
    asTyped(words)
    await spareCompiler(archive)
    const { checkArchive, run } = await import('../../deploy/run.js')
    if (dryRun === true) {
      checkArchive(archive)
      const { deploy } = await import('../../deploy/deploy.js')
      const planned = await deploy({ ...options, dryRun })
      terminal.result({ deployment: planned, command: words }, `${summary(planned)}\nwould run ${words.join(' ')}`)
      return
    }
    const onStart = (): void => {
      terminal.close()
      session.release()
    }
    const result = await run({ ...options, command: words, spare: flags.spare, onStart })
    terminal.aside(result)
    session.status = result.signal === null ? (result.status ?? 0) : 128 + constants.signals[result.signal]
  })
}

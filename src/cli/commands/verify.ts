/** `conda-deploy verify DIR|ARCHIVE`: exit status 3 and a list when something is not as it should be. */
import type { Command } from 'commander'
import type { VerifyResult } from '../../deploy/verify.js'
import { example, type Globals, type Session } from '../common.js'
import { bytes, count, counted, duration, printable } from '../text.js'

/** Faults were found; the verb itself did its work. */
const faulty = 3

export function addVerify(program: Command, session: Session): void {
  const command = program
    .command('verify')
    .summary('check a deployed directory or an archive')
    .description(
      'Hash every file again: a deployed directory against what was deployed, an archive against its own table. ' +
        'Prints the faults, one a line; ends with 3 when there are any.',
    )
    .argument('<path>', 'a deployed directory, or an archive of conda-deploy')
  example(command, 'conda-deploy verify "$CONDA_PREFIX"')
  command.action(async (path: string, _: unknown, self: Command) => {
    const { threads } = self.optsWithGlobals<Globals>()
    const { terminal } = session
    const { verify } = await import('../../deploy/verify.js')
    const result = await verify(path, { threads, signal: session.signal, reporter: terminal })
    terminal.result(result, result.faults.map(faultLine).join('\n'))
    terminal.say(summary(result))
    if (result.faults.length > 0) session.status = faulty
  })
}

export const faultLine = ({ path, kind, expected, found }: VerifyResult['faults'][number]): string =>
  printable(`${path}: ${kind}: expected ${expected}, found ${found}`)

function summary({ path, faults, entries, bytes: hashed, seconds }: VerifyResult): string {
  const verdict = faults.length === 0 ? 'is as it should be' : `has ${counted(faults.length, 'fault')}`
  const speed = `${bytes(hashed / Math.max(seconds, 0.001))}/s`
  return `${path} ${verdict}: ${count(entries)} entries, ${bytes(hashed)} in ${duration(seconds)} (${speed})`
}

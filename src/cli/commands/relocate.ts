/** `conda-deploy relocate DIR [NEWDIR]`: moves a deployed tree, or repairs one that was moved. */
import type { Command } from 'commander'
import type { RelocateResult } from '../../deploy/relocate.js'
import { example, type Globals, type Session, seconds } from '../common.js'
import { aligned, bytes, counted, duration } from '../text.js'

interface Flags extends Globals {
  readonly copy?: boolean
  readonly force?: boolean
  readonly allowShared?: boolean
  readonly wait?: number
  readonly dryRun?: boolean
}

export function addRelocate(program: Command, session: Session): void {
  const command = program
    .command('relocate')
    .summary('move a deployed directory, or repair one that was moved')
    .description(
      'Move a deployed directory: the new one is complete and verified before the old one goes. Without a new place, ' +
        'repair a directory that stands elsewhere than where it was deployed. Needs no archive. Prints the prefix.',
    )
    .argument('<dir>', 'a deployed directory')
    .argument('[newdir]', 'where it shall stand; must not exist (default: where it stands now)')
    .option('--copy', 'keep the old directory')
    .option('-f, --force', 'leave behind what was added since it was deployed')
    .option('--allow-shared', 'let the target be on another file system that is a network or parallel one')
    .option('--wait <seconds>', 'how long to wait for another process that works there (default: no limit)', seconds)
    .option('--dry-run', 'say what would be done, and do nothing')
  example(
    command,
    'conda-deploy relocate /scratch/old/myenv /scratch/new/myenv',
    'mv /scratch/myenv /scratch/moved && conda-deploy relocate /scratch/moved',
  )
  command.action(async (directory: string, to: string | undefined, _: unknown, self: Command) => {
    const { copy, force, allowShared, wait, dryRun, threads } = self.optsWithGlobals<Flags>()
    const { terminal, signal } = session
    const { relocate } = await import('../../deploy/relocate.js')
    const result = await relocate({
      ...{ directory, to, copy, force, allowShared, wait, dryRun, threads, signal },
      reporter: terminal,
    })
    terminal.result(result, result.dryRun ? summary(result) : result.prefix)
    if (!result.dryRun) terminal.say(summary(result))
  })
}

const would = {
  moved: 'would move',
  copied: 'would copy',
  repaired: 'would repair',
  unchanged: 'unchanged',
  finished: 'would finish',
}

function summary(result: RelocateResult): string {
  const { prefix, from, method, dryRun, files, bytes: size, reused, rewritten, spots, dropped, threads } = result
  const { total, ...phases } = result.seconds
  const wrote = !dryRun && reused.bytes > 0
  const took = Object.entries(phases).filter(([, spent]) => spent >= 0.01)
  const ways = [
    [reused.linked, 'linked'],
    [reused.cloned, 'cloned'],
    [reused.copied, 'copied'],
    [reused.rewritten, 'rewritten'],
  ] as const
  return aligned([
    [dryRun ? would[method] : method, prefix],
    ['from', from === prefix ? undefined : from],
    ['files', `${counted(files, 'file')}, ${bytes(size)}`],
    ['by', wrote ? ways.flatMap(([count, how]) => (count > 0 ? [`${count} ${how}`] : [])).join(', ') : undefined],
    ['relocated', wrote ? `${counted(rewritten, 'file')} in ${counted(spots, 'place')}` : undefined],
    ['left behind', dropped.length === 0 ? undefined : counted(dropped.length, 'entry', 'entries')],
    [
      'took',
      dryRun
        ? undefined
        : `${duration(total)} by ${counted(threads, 'thread')}: ` +
          took.map(([name, spent]) => `${name} ${duration(spent)}`).join(', '),
    ],
  ])
}

/** `conda-deploy cache list|prune|remove|verify|release`: what the node keeps when no target is named. */
import { type Command, InvalidArgumentError } from 'commander'
import type { CacheOptions } from '../../deploy/cache/caches.js'
import type { CachedDeployment, ListCacheResult } from '../../deploy/cache/list.js'
import type { PruneCacheResult } from '../../deploy/cache/prune.js'
import { sizeOf, spanOf } from '../../deploy/cache/units.js'
import { EnvError } from '../../errors.js'
import { amount, example, type Globals, integer, type Session } from '../common.js'
import { bytes, counted, printable } from '../text.js'
import { faultLine } from './verify.js'

interface Flags extends Globals, CacheOptions {
  readonly maxAge?: number
  readonly maxBytes?: number
  readonly maxInodes?: number
  readonly minFree?: number
  readonly dryRun?: boolean
}

/** Faults were found; the verb itself did its work. */
const faulty = 3

export function addCache(program: Command, session: Session): void {
  const cache = program
    .command('cache')
    .summary('what the node keeps of deployments: list, prune, remove, verify')
    .description('The deployments that this node keeps, in the folders where they go when no target is named.')
  example(cache, 'conda-deploy cache list', 'conda-deploy cache prune --max-age 14d --max-bytes 50G --dry-run')
  addList(cache, session)
  addPrune(cache, session)
  addRemove(cache, session)
  addVerify(cache, session)
  addRelease(cache, session)
}

function addPlaces(command: Command, ofAll = true): Command {
  command
    .option('--root <dir>', 'the scratch folder to look in (default: all that deployments find by themselves)')
    .option('--policy <file>', "the site's policy (default: /etc/conda-deploy.yaml)")
    .option('--user <uid>', 'the cache of another user, by number; for root', integer)
  return ofAll ? command.option('--all-users', 'the caches of all users; for root') : command
}

const places = ({ root, policy, user, allUsers }: Flags): CacheOptions => ({ root, policy, user, allUsers })

function addList(cache: Command, session: Session): void {
  const command = addPlaces(
    cache
      .command('list')
      .summary('list them')
      .description(
        'List the deployments of this node, the one that was not adopted for longest first: prefix, size, name, when it was adopted last, who needs it.',
      ),
  )
  example(command, 'conda-deploy cache list', 'conda-deploy cache list --json')
  command.action(async (_: unknown, self: Command) => {
    const { listCache } = await import('../../deploy/cache/list.js')
    const result = await listCache(places(self.optsWithGlobals<Flags>()))
    const { terminal } = session
    for (const warning of result.warnings) terminal.warn(warning)
    terminal.result(result, listed(result))
    const totals = result.caches.map(({ path, deployments, bytes: size }) => total(path, deployments.length, size))
    if (totals.length > 0) terminal.say(totals.join('\n'))
  })
}

const total = (path: string, count: number, size: number): string =>
  `${path}: ${counted(count, 'deployment')}, ${bytes(size)}`

function listed({ caches }: ListCacheResult): string {
  const line = ({ prefix, name, bytes: size, used, leases, inUse }: CachedDeployment): string => {
    const needed = [...leases, ...(inUse === null ? [] : [inUse])].join(', ')
    return [prefix, size === null ? '?' : bytes(size), name ?? '-', used.slice(0, 19), needed || '-']
      .map(printable)
      .join('\t')
  }
  return caches.flatMap(({ deployments }) => deployments.map(line)).join('\n')
}

function addPrune(cache: Command, session: Session): void {
  const command = addPlaces(
    cache
      .command('prune')
      .summary('evict what was not adopted for longest, and clear up')
      .description(
        'Evict deployments, the one that was not adopted for longest first, until a cache is within its limits; and clear away what ' +
          'processes that died left behind. What someone has a lease on, or a process uses, stays. Without limits nothing is evicted.',
      ),
  )
    .option('--max-age <span>', 'evict what was not adopted for so long: 14d, 12h (default: as the policy says)', ago)
    .option('--max-bytes <size>', 'of the deployments of one cache folder together: 50G, 20Gi', size)
    .option('--max-inodes <n>', 'files, directories and links of one cache folder together', amount)
    .option('--min-free <size>', 'what shall be free on the file system', size)
    .option('--dry-run', 'say what would be evicted, and do nothing')
  example(command, 'conda-deploy cache prune --max-age 14d --min-free 20G', 'conda-deploy cache prune --max-age 0s')
  command.action(async (_: unknown, self: Command) => {
    const { terminal } = session
    const flags = self.optsWithGlobals<Flags>()
    const { maxAge, maxBytes, maxInodes, minFree, dryRun, threads } = flags
    const { pruneCache } = await import('../../deploy/cache/prune.js')
    const limits = { maxAge, maxBytes, maxInodes, minFree }
    const result = await pruneCache({ ...places(flags), ...limits, dryRun, threads, reporter: terminal })
    terminal.result(result, result.removed.map(({ prefix }) => printable(prefix)).join('\n'))
    terminal.say(pruned(result))
  })
}

function pruned({ removed, kept, cleared, voided, dryRun }: PruneCacheResult): string {
  const size = removed.reduce((sum, one) => sum + (one.bytes ?? 0), 0)
  const lines = [
    `${dryRun ? 'would evict' : 'evicted'} ${counted(removed.length, 'deployment')}, ${bytes(size)}`,
    ...kept.map(({ prefix, limit, why }) => `kept ${prefix}, over its limit of ${limit}: ${why}`),
    ...cleared.map((path) => `${dryRun ? 'would clear' : 'cleared'} away ${path}`),
  ]
  if (voided > 0) lines.push(`${counted(voided, 'lease')} of holders that are no more`)
  return lines.map(printable).join('\n')
}

function addRemove(cache: Command, session: Session): void {
  const command = addPlaces(
    cache
      .command('remove')
      .summary('remove some of them')
      .description(
        'Remove deployments. One that someone has a lease on, or a process uses, stays; the exit status is 75 then.',
      )
      .argument('<which...>', 'prefixes, digests (at least 8 digits), or names of environments'),
  ).option('--dry-run', 'say what would be removed, and do nothing')
  example(
    command,
    'conda-deploy cache remove myenv',
    'conda-deploy cache remove /tmp/conda-deploy-1000/7998986dba502837',
  )
  command.action(async (which: string[], _: unknown, self: Command) => {
    const { terminal } = session
    const flags = self.optsWithGlobals<Flags>()
    const { dryRun, threads } = flags
    const { removeFromCache } = await import('../../deploy/cache/remove.js')
    const result = await removeFromCache({ ...places(flags), which, dryRun, threads })
    for (const warning of result.warnings) terminal.warn(warning)
    terminal.result(result, result.removed.map(printable).join('\n'))
    const [first] = result.kept
    if (first === undefined) return
    const more = result.kept.length > 1 ? `, and ${result.kept.length - 1} more` : ''
    const hint = 'try again when it has ended, or release the lease'
    throw new EnvError('LOCK_HELD', `${first.prefix} stays: ${first.why}${more}`, { path: first.prefix, hint })
  })
}

function addVerify(cache: Command, session: Session): void {
  const command = addPlaces(
    cache
      .command('verify')
      .summary('hash their files again')
      .description(
        'Hash every file of the deployments again. Prints the faults, one a line; ends with 3 when there are any.',
      )
      .argument('[which...]', 'prefixes, digests (at least 8 digits), or names of environments (default: all)'),
  )
  example(command, 'conda-deploy cache verify', 'conda-deploy cache verify myenv')
  command.action(async (words: string[], _: unknown, self: Command) => {
    const { terminal, signal } = session
    const flags = self.optsWithGlobals<Flags>()
    const { threads } = flags
    const which = words.length === 0 ? undefined : words
    const { verifyCache } = await import('../../deploy/cache/check.js')
    const result = await verifyCache({ ...places(flags), which, threads, signal, reporter: terminal })
    for (const warning of result.warnings) terminal.warn(warning)
    const lines = result.deployments.flatMap(({ path, faults }) => faults.map((fault) => `${path}/${faultLine(fault)}`))
    terminal.result(result, lines.join('\n'))
    terminal.say(`${counted(result.deployments.length, 'deployment')}, ${counted(result.faults, 'fault')}`)
    if (result.faults > 0) session.status = faulty
  })
}

function addRelease(cache: Command, session: Session): void {
  const command = addPlaces(
    cache
      .command('release')
      .summary('give the leases of a job back')
      .description('Give back all leases of a job or process that has ended, as an epilog does. Prints the leases.')
      .argument('<holder>', 'slurm:ID, pbs:ID, sge:ID, lsf:ID or pid:PID:START'),
    false,
  )
  example(command, 'conda-deploy cache release slurm:4711')
  command.action(async (holder: string, _: unknown, self: Command) => {
    const { terminal } = session
    const { releaseLeases } = await import('../../deploy/cache/lease.js')
    const { root, policy, user } = self.optsWithGlobals<Flags>()
    const result = await releaseLeases({ root, policy, user, holder })
    for (const warning of result.warnings) terminal.warn(warning)
    terminal.result(result, result.released.map(printable).join('\n'))
    terminal.say(`gave back ${counted(result.released.length, 'lease')}`)
  })
}

function size(text: string): number {
  const value = sizeOf(text)
  if (value === null) throw new InvalidArgumentError('It must be a size such as 50G or 20Gi.')
  return value
}

function ago(text: string): number {
  const value = spanOf(text)
  if (value === null) throw new InvalidArgumentError('It must be a span of time such as 14d, 12h or 30m.')
  return value
}

/** `conda-deploy ARCHIVE`: the one step. Its flags are those of `run` too. */
import type { Command } from 'commander'
import type { Taker } from '../../conda/takers.js'
import type { DeployOptions, DeployResult } from '../../deploy/deploy.js'
import { EnvError } from '../../errors.js'
import { setV8Flag } from '../../v8-flag.js'
import { addSpare, amount, example, type Globals, type Session, type SpareFlags, seconds } from '../common.js'
import { type callingShell, takerNamed } from '../shell.js'
import { aligned, bytes, counted, duration } from '../text.js'
import { activationOf, shellOption } from './activate.js'

export interface DeployFlags extends Globals {
  readonly to?: string
  readonly root?: string
  readonly allowShared?: boolean
  readonly writable?: boolean
  readonly verify?: boolean
  readonly maxBytes?: number
  readonly maxFiles?: number
  readonly base?: string
  readonly update?: boolean
  readonly delta?: boolean
  readonly lease?: string
  readonly shared?: boolean
  readonly policy?: string
  readonly wait?: number
  readonly dryRun?: boolean
}

interface Flags extends DeployFlags, SpareFlags {
  readonly mount?: boolean
  readonly shell?: Taker | typeof callingShell
}

export function addDeployFlags(command: Command): Command {
  return command
    .option('--to <dir>', 'the target, which must not exist (default: a directory named after the content, in scratch)')
    .option(
      '--root <dir>',
      "the scratch folder (default: the first local one of $CONDA_DEPLOY_ROOT, the site's policy, $SLURM_TMPDIR, $LOCAL_SCRATCH, $TMPDIR, " +
        '/mnt/bb/$USER, /scratch/$USER, /local, /tmp, /dev/shm)',
    )
    .option('--allow-shared', 'let the target be on a network or parallel file system')
    .option('--writable', 'keep write permission on files and directories')
    .option('--verify', 'read every file back before publishing, or of the deployment that is there')
    .option('--max-bytes <n>', 'refuse an archive that becomes more (default: 100 times its size)', amount)
    .option('--max-files <n>', 'refuse an archive of more files (default: 4000000)', amount)
    .option(
      '--base <dir>',
      'an earlier deployment to take equal files from (default: the newest of the same name in the scratch folder)',
    )
    .option('--update', 'at --to stands a deployment of an earlier archive: write what differs, where it stands')
    .option('--no-delta', 'take nothing from earlier deployments')
    .option(
      '--lease <holder>',
      "who needs it, so that it is not evicted: slurm:ID, pbs:ID, sge:ID, lsf:ID or pid:PID:START (default: this process's job)",
    )
    .option('--shared', "as root: deploy into the node's cache for all users, every content checked")
    .option('--policy <file>', "the site's policy (default: /etc/conda-deploy.yaml)")
    .option(
      '--wait <seconds>',
      'how long to wait for another deployment to the same place (default: no limit)',
      seconds,
    )
    .option('--dry-run', 'say what would be done, and do nothing')
}

export function deployOptions(archive: string, flags: DeployFlags, session: Session): DeployOptions {
  const { to, root, allowShared, verify, maxBytes, maxFiles, base, delta, wait, dryRun, threads } = flags
  const { lease, shared, policy } = flags
  return {
    ...{ archive, to, root, allowShared, verify, maxBytes, maxFiles, base, delta, wait, dryRun, threads },
    ...{ lease, shared, policy, update: flags.update },
    readOnly: flags.writable !== true,
    signal: session.signal,
    reporter: session.terminal,
  }
}

export function addDeploy(program: Command, session: Session): void {
  const command = program
    .command('deploy', { isDefault: true })
    .summary('put an archive onto this node (the default command)')
    .description('Put an archive onto this node, or find that it is there. Prints the prefix.')
    .argument('<archive>', 'an archive of conda-deploy, conda-pack, tar or zip, a directory, or - for standard input')
  addDeployFlags(command).addOption(shellOption('print what eval needs to activate it'))
  command.option(
    '--mount',
    'mount a squashfs image read-only at --to, the prefix it was packed for with --dest-prefix, instead of extracting it; ' +
      'what takes it away again is printed: umount DIR, or fusermount -u DIR',
  )
  addSpare(command)
  example(
    command,
    'conda-deploy /shared/myenv.tar.zst',
    'ssh login cat myenv.tar.zst | conda-deploy -',
    'eval "$(conda-deploy /shared/myenv.tar.zst --shell bash)"',
    'conda-deploy deploy /shared/myenv.tar.zst --to /scratch/myenv --writable',
    'conda-deploy /shared/myenv.squashfs --mount --to /opt/envs/myenv',
  )
  command.action(async (archive: string, _: unknown, self: Command) => {
    const flags = self.optsWithGlobals<Flags>()
    const shell = shellOf(flags)
    if (flags.mount === true) return await mountIt(archive, flags, shell, session)
    await spareCompiler(archive)
    const { deploy } = await import('../../deploy/deploy.js')
    const result = await deploy(deployOptions(archive, flags, session)).catch((error: unknown) => {
      throw orCommand(error, archive)
    })
    const { terminal } = session
    if (result.dryRun) terminal.result(result, summary(result))
    else {
      terminal.result(
        result,
        shell === undefined ? result.prefix : await activationCode(result.prefix, shell, flags, session),
      )
      terminal.say(summary(result))
    }
  })
}

/** The ending of archives that the core extracts by itself. */
const ownName = /\.(?:tar\.zst|tzst)$/

/**
 * V8 would compile, on the same cores, what runs ten thousand times and never again: 0.3 of 2.6 CPU seconds for the 18,705 files of a
 * .tar.gz. So it waits thirty times longer, which loops of larger environments still reach. Only where JavaScript has that much to do:
 * loading what sets the flag costs a few milliseconds, too.
 */
export async function spareCompiler(archive: string): Promise<void> {
  if (ownName.test(archive)) return
  // Before: what V8 keeps compiled it takes only with the flags that it was compiled with.
  await import('../../deploy/foreign.js')
  setV8Flag('interrupt-budget=4000000')
}

async function mountIt(archive: string, flags: Flags, shell: Taker | undefined, session: Session): Promise<void> {
  const { to = '', dryRun, root, allowShared, writable, verify, maxBytes, maxFiles, base, update, wait } = flags
  const { lease, shared, policy } = flags
  const others = { root, allowShared, writable, verify, maxBytes, maxFiles, base, update, wait, lease, shared, policy }
  const [other] = Object.entries(others).find(([, value]) => value !== undefined) ?? []
  const flag = other?.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
  if (flag !== undefined) throw new EnvError('USAGE', `--mount and --${flag} exclude each other`)
  if (to === '') {
    const hint = 'name the prefix that the image was packed for with --dest-prefix'
    throw new EnvError('USAGE', '--mount needs --to', { hint })
  }
  const { mount } = await import('../../deploy/mount.js')
  const { terminal, signal } = session
  const result = await mount({ archive, to, dryRun, signal, reporter: terminal })
  const activated = shell === undefined ? result.prefix : await activationCode(result.prefix, shell, flags, session)
  terminal.result(result, activated)
  const did = dryRun === true ? 'would mount' : `mounted by ${result.by}`
  terminal.say(
    aligned([
      [did, result.prefix],
      ['unmount', result.unmount.join(' ')],
    ]),
  )
}

function shellOf({ shell, json, dryRun, spare }: Flags): Taker | undefined {
  if (shell === undefined && spare !== undefined) {
    const hint = 'it changes what activating means: use it with --shell or with conda-deploy run'
    throw new EnvError('USAGE', '--spare needs --shell', { hint })
  }
  if (shell === undefined) return undefined
  const other = json ? '--json' : dryRun ? '--dry-run' : undefined
  if (other !== undefined) {
    const hint = '--shell json prints the activation as JSON'
    throw new EnvError('USAGE', `--shell and ${other} exclude each other`, { hint })
  }
  return takerNamed(shell)
}

async function activationCode(
  prefix: string,
  shell: Taker,
  flags: Flags,
  { terminal, signal }: Session,
): Promise<string> {
  const told = await activationOf(prefix, shell, flags.spare ?? [], signal)
  for (const warning of told.warnings) terminal.warn(warning)
  return told.text.trimEnd()
}

export function summary(result: DeployResult): string {
  const { method, dryRun, prefix, target } = result
  const { type, locality } = target.fileSystem
  const place = locality === 'local' ? type : `${type}, ${locality}`
  const did = dryRun ? would[method] : method
  const size = `${counted(result.files, 'file')}, ${bytes(result.bytes)}`
  const wrote = method !== 'adopted' && !dryRun
  const phases = Object.entries(result.seconds).filter(([name, spent]) => name !== 'total' && spent >= 0.01)
  return aligned([
    [did, `${prefix} (${place})`],
    ['because', target.reason === 'to' ? undefined : reason(target)],
    ...target.rejected.map(({ path, why }) => ['not', `${path}: ${why}`] as const),
    ['content', result.files === 0 && result.bytes === 0 ? 'not known before it is read' : size],
    ['relocated', wrote ? relocated(result) : undefined],
    ['reused', reused(result)],
    ['kept', kept(result)],
    ['leased', result.lease === null ? undefined : `for ${result.lease}`],
    ...result.evicted.map((path) => [dryRun ? 'would evict' : 'evicted', path] as const),
    [
      'took',
      dryRun
        ? undefined
        : `${duration(result.seconds.total)} by ${counted(result.threads, 'thread')}: ` +
          phases.map(([name, spent]) => `${name} ${duration(spent)}`).join(', ') +
          (wrote ? ` (${bytes(result.bytes / Math.max(result.seconds.extract, 0.001))}/s)` : ''),
    ],
  ])
}

function relocated({ rewritten, spots, trampolines, byPath }: DeployResult): string {
  const parts = [`${counted(rewritten, 'file')} in ${counted(spots, 'place')}`]
  if (trampolines > 0) parts.push(`${counted(trampolines, 'script')} by way of /bin/sh`)
  if (byPath.length > 0) parts.push(`${counted(byPath.length, 'script')} by PATH`)
  return parts.join(', ')
}

function reused({ base, dryRun, reused: taken, readBytes }: DeployResult): string | undefined {
  if (base === null) return undefined
  if (dryRun) return `what is equal in ${base}`
  if (taken === undefined) return undefined
  const { linked, cloned, copied, rewritten } = taken
  const files = counted(linked + cloned + copied + rewritten, 'file')
  return `${files}, ${bytes(taken.bytes)}, of ${base}; ${bytes(readBytes)} read from the archive`
}

const would = { deployed: 'would deploy to', adopted: 'would adopt', updated: 'would update' }

function kept({ updated, readBytes }: DeployResult): string | undefined {
  if (updated === undefined) return undefined
  const removed = updated.removed === 0 ? '' : `, ${counted(updated.removed, 'file')} removed`
  return `${counted(updated.kept, 'file')}${removed}; ${bytes(readBytes)} read from the archive`
}

function reason({ root, reason: named }: DeployResult['target']): string {
  if (named === 'default') return `${root} is local`
  if (named === 'shared') return `${root} has deployments for all users`
  if (named === 'policy') return `the site's policy names ${root}`
  return `${named === 'root' ? '--root' : named} is ${root}`
}

/** No archive is named so: it would have a suffix, or a folder before it. */
export const looksLikeCommand = (name: string): boolean => /^[a-z-]+$/.test(name)

/** A name that is neither a file's nor a command's may be a misspelt command. */
function orCommand(error: unknown, archive: string): unknown {
  const unknown = error instanceof EnvError && error.code === 'ARCHIVE_NOT_FOUND' && looksLikeCommand(archive)
  if (!unknown) return error
  const hint = `'${archive}' is no command either; conda-deploy --help tells what there is`
  return new EnvError(error.code, error.message, { path: archive, hint, cause: error })
}

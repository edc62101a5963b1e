/** The verb that writes what an administrator installs: prolog, epilog, task prolog, policy, and lines for slurm.conf. */
import { lstatSync, readFileSync } from 'node:fs'
import { isAbsolute, join, resolve } from 'node:path'
import { defaultPolicy, type JobsPolicy, policyFile, readPolicy } from '../deploy/cache/policy.js'
import { EnvError, fromSystem } from '../errors.js'
import { checkOptions, type Shape } from '../options.js'
import { replaceFile } from '../tree/replace-file.js'
import { ownCommand } from './own-command.js'
import { siteFiles } from './site.js'

export interface SlurmInstallOptions {
  /** The folder to write to, the same one on all nodes. */
  readonly to: string
  /** The policy file on the nodes; default /etc/conda-deploy.yaml. */
  readonly policy?: string | undefined
  /** Local disk of the nodes, for the policy that is written; default /scratch. */
  readonly root?: string | undefined
  /** Hooks that end with a status other than 0 when they fail; default false. */
  readonly strict?: boolean | undefined
  /** Replace files that are there with another content; the policy never. Default false. */
  readonly force?: boolean | undefined
  /** The command that starts conda-deploy on the nodes, by whole paths. Default: the one that lies beside this library. */
  readonly command?: readonly string[] | undefined
  /** Write nothing. */
  readonly dryRun?: boolean | undefined
}

export interface SlurmInstallResult {
  readonly folder: string
  readonly dryRun: boolean
  readonly files: readonly {
    readonly path: string
    readonly mode: string
    /** `same`: it is there with this content. `kept`: a policy that is there is nobody's but the administrator's. */
    readonly did: 'written' | 'same' | 'kept'
    readonly text: string
  }[]
}

const shape: Shape<SlurmInstallOptions> = {
  to: 'string',
  policy: 'string',
  root: 'string',
  strict: 'boolean',
  force: 'boolean',
  command: 'strings',
  dryRun: 'boolean',
}

type Written = SlurmInstallResult['files'][number]

/** Throws OUTPUT_EXISTS, before anything is written, INVALID_OPTION, CONFIG_DAMAGED for the policy that is there, PERMISSION, IO. */
export async function slurmInstall(options: SlurmInstallOptions): Promise<SlurmInstallResult> {
  checkOptions<SlurmInstallOptions>('slurmInstall', options, shape)
  const { to, policy = policyFile, root = '/scratch', strict = false, force = false, dryRun = false } = options
  if (to === undefined || to === '') throw new EnvError('INVALID_OPTION', 'slurmInstall: no folder is named')
  const { command = ownCommand() } = options
  const [first, ...others] = command
  for (const path of [...command, policy, root])
    if (!isAbsolute(path)) throw new EnvError('INVALID_OPTION', `slurmInstall: ${path} is not an absolute path`)
  if (first === undefined) throw new EnvError('INVALID_OPTION', "slurmInstall: option 'command' is empty")
  const folder = resolve(to)
  const files = siteFiles({
    ...{ command: [first, ...others], policy, folder, root, strict },
    policyIsElsewhere: policy !== policyFile,
    jobs: await jobsOf(policy),
  })
  const planned = files.map(({ name, mode, text }): Written => {
    const path = join(folder, name)
    return { path, mode: mode.toString(8), did: whatIsAt(path, text, name.endsWith('.yaml'), force), text }
  })
  // A hook that runs meanwhile is the old file or the new one.
  const due = dryRun ? [] : planned.filter(({ did }) => did === 'written')
  for (const { path, text, mode } of due) await replaceFile(path, text, Number.parseInt(mode, 8))
  return { folder, dryRun, files: planned }
}

/** Of the policy that is in force, so that the hooks agree with it; of a missing one the defaults. */
async function jobsOf(policy: string): Promise<JobsPolicy> {
  const isThere = lstatSync(policy, { throwIfNoEntry: false }) !== undefined
  return isThere ? (await readPolicy(policy)).jobs : defaultPolicy.jobs
}

function whatIsAt(path: string, text: string, isPolicy: boolean, force: boolean): Written['did'] {
  try {
    const there = lstatSync(path, { throwIfNoEntry: false })
    if (there === undefined) return 'written'
    if (isPolicy) return 'kept'
    if (there.isFile() && readFileSync(path, 'utf8') === text) return 'same'
    if (there.isFile() && force) return 'written'
  } catch (error) {
    throw fromSystem(error, 'cannot read', path)
  }
  throw new EnvError('OUTPUT_EXISTS', `${path} is there, with another content`, { path })
}

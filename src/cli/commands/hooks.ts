/** `conda-deploy prolog`, `task-prolog` and `epilog`: what a scheduler calls. They end with 0 when they fail, unless told not to. */
import { type Command, InvalidArgumentError } from 'commander'
import { EnvError } from '../../errors.js'
import type { PrologResult } from '../../slurm/prolog.js'
import { example, type Globals, type Session, seconds } from '../common.js'
import { aligned, bytes, counted, duration, printable } from '../text.js'

interface Flags extends Globals {
  readonly job?: string
  readonly user?: string
  readonly policy?: string
  readonly timeout?: number
  readonly strict?: boolean
}

const policyHelp = 'the policy of the site (default: /etc/conda-deploy.yaml)'

function addJob(command: Command): Command {
  return command
    .option('--job <id>', 'slurm:ID, pbs:ID, sge:ID or lsf:ID (default: as the variables of the scheduler tell)')
    .option('--user <name>', 'whose job it is, where the scheduler does not tell')
    .option('--policy <file>', policyHelp)
}

export function addHooks(program: Command, session: Session): void {
  addProlog(program, session)
  addTaskProlog(program, session)
  addEpilog(program, session)
  addDeployFor(program, session)
}

function addProlog(program: Command, session: Session): void {
  const command = program
    .command('prolog')
    .summary('before a job, as root: deploy what it asks for')
    .description(
      "Deploy what a job asks for, before it starts, with its user's rights: what CONDA_DEPLOY_ENV names where the scheduler hands it on, " +
        'else conda-deploy=ARCHIVE in the comment of the job, else what a rule of the policy says. A failure is told to the tasks of the job.',
    )
  addJob(command)
    .option('--timeout <seconds>', 'how long it may take (default: as the policy says, else 120)', seconds)
    .option('--strict', 'end with a status other than 0 on failure: Slurm drains the node then')
  example(command, 'conda-deploy prolog', 'conda-deploy prolog --job pbs:123.server --user alice')
  command.action(async (_: unknown, self: Command) => {
    const flags = self.optsWithGlobals<Flags>()
    const { prolog } = await import('../../slurm/prolog.js')
    await leniently(flags, session, async () => {
      const { job, user, policy, timeout, threads } = flags
      const { terminal, signal } = session
      const result = await prolog({ job, user, policy, timeout, threads, signal, reporter: terminal })
      terminal.result(result, prologText(result))
    })
  })
}

/** A hook that fails would drain the node, be it by a bug of ours. */
async function leniently({ strict }: Flags, { terminal }: Session, act: () => Promise<void>): Promise<void> {
  try {
    await act()
  } catch (error) {
    if (strict === true) throw error
    terminal.error(error)
  }
}

function prologText({ job, user, wanted, deployment, shared, seconds: spent }: PrologResult): string {
  if (wanted === null || deployment === null) return `${job} of ${user} asks for nothing`
  return aligned([
    ['job', `${job} of ${user}`],
    ['archive', `${wanted.archive}, by ${wanted.by}`],
    [deployment.method, `${deployment.prefix} (${shared ? 'for all users' : `for ${user}`})`],
    ['content', `${counted(deployment.files, 'file')}, ${bytes(deployment.bytes)}`],
    ['took', duration(spent)],
  ])
}

function addTaskProlog(program: Command, session: Session): void {
  const command = program
    .command('task-prolog')
    .summary("before a task, as its user: print what activates the job's environment")
    .description(
      "Print, in the words of Slurm's task prolog, what starts a task in the environment that the prolog deployed, or that CONDA_DEPLOY_ENV " +
        'names: the first task of a node deploys it, the others wait.',
    )
    .option('--policy <file>', policyHelp)
    .option('--strict', 'end with a status other than 0 on failure: Slurm does not start the task then')
  example(command, 'sbatch --export=ALL,CONDA_DEPLOY_ENV=/shared/myenv.tar.zst job.sh')
  command.action(async (_: unknown, self: Command) => {
    const { policy, threads, strict } = self.optsWithGlobals<Flags>()
    const { taskProlog, speaksForNode } = await import('../../slurm/task-prolog.js')
    const { slurmLines } = await import('../../conda/slurm-lines.js')
    const { terminal, signal } = session
    try {
      const { lines } = await taskProlog({ policy, threads, signal })
      terminal.print(lines)
    } catch (error) {
      if (!(error instanceof EnvError)) throw error
      // Slurm hands on nothing that is written to stderr.
      const told = [error.message, ...(error.hint === undefined ? [] : [`hint: ${error.hint}`])]
      if (speaksForNode(process.env)) terminal.print(slurmLines([], told))
      if (strict === true) throw error
    }
  })
}

function addEpilog(program: Command, session: Session): void {
  const command = program
    .command('epilog')
    .summary('after a job, as root: give back what it held, and prune the caches')
    .description(
      'Give the leases of a job back, and remove what the policy does not want kept. Ends with 0 whatever happens, because a failed epilog ' +
        'would drain the node.',
    )
  addJob(command)
  example(command, 'conda-deploy epilog', 'conda-deploy epilog --job pbs:123.server --user alice')
  command.action(async (_: unknown, self: Command) => {
    const flags = self.optsWithGlobals<Flags>()
    const { job, user, policy } = flags
    const { epilog } = await import('../../slurm/epilog.js')
    const { terminal, signal } = session
    await leniently(flags, session, async () => {
      const result = await epilog({ job, user, policy, signal, reporter: terminal })
      const given = `${result.job}: ${counted(result.released.length, 'lease')} given back`
      const removed = `${counted(result.removed.length, 'deployment')} removed`
      terminal.result(result, printable(`${given}, ${removed}`))
    })
  })
}

interface DeployForFlags extends Globals {
  readonly account: { readonly uid: number; readonly gid: number; readonly name: string }
  readonly lease: string
  readonly policy?: string
  readonly shared?: boolean
}

function account(text: string): DeployForFlags['account'] {
  const [, uid, gid, name] = /^(\d{1,10}):(\d{1,10}):([^:\s]+)$/.exec(text) ?? []
  if (name === undefined) throw new InvalidArgumentError('It must be UID:GID:NAME.')
  return { uid: Number(uid), gid: Number(gid), name }
}

/** What `prolog` starts. */
function addDeployFor(program: Command, session: Session): void {
  program
    .command('deploy-for', { hidden: true })
    .description('The step of a prolog that opens what the user of a job names.')
    .argument('<archive>', 'by its whole path')
    .requiredOption('--account <uid:gid:name>', 'with whose rights it is opened', account)
    .requiredOption('--lease <job>', 'who holds the deployment')
    .option('--policy <file>', policyHelp)
    .option('--shared', 'into the cache of all users')
    .action(async (archive: string, _: unknown, self: Command) => {
      const { account, lease, policy, shared, threads } = self.optsWithGlobals<DeployForFlags>()
      const { deployFor } = await import('../../slurm/deploy-for.js')
      const { terminal, signal } = session
      const result = await deployFor({ archive, account, lease, policy, threads, signal, shared: shared === true })
      terminal.result(result, 'unsuited' in result ? result.unsuited : result.prefix)
    })
}

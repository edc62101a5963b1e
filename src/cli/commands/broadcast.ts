/** `conda-deploy broadcast ARCHIVE`: onto all nodes of an allocation. Its further flags are those of deploying, for every node. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import { EnvError, isErrorCode } from '../../errors.js'
import type { BroadcastResult } from '../../slurm/broadcast.js'
import { example, type Session } from '../common.js'
import { aligned, bytes, count, counted, duration } from '../text.js'
import { addDeployFlags, type DeployFlags, deployOptions } from './deploy.js'

interface Flags extends DeployFlags {
  readonly from: 'broadcast' | 'shared'
  readonly keep?: boolean
  readonly silence?: number
}

export function addBroadcast(program: Command, session: Session): void {
  addNodeTask(program, session)
  const command = program
    .command('broadcast')
    .summary('put an archive onto every node of a Slurm allocation')
    .description(
      'Put an archive onto every node of the Slurm allocation that this runs in. The archive is read once and sent to the local disk of ' +
        'the nodes by sbcast; what arrived is checked by its SHA-256, deployed by one task a node, and taken away. Nodes that fail are ' +
        'named; the others are done. Prints the prefix. conda-deploy must stand at the same path on the nodes.',
    )
    .argument('<archive>', 'an archive of conda-deploy, conda-pack, tar or zip')
    .addOption(
      new Option('--from <how>', 'broadcast, or shared: every node reads the archive where it is')
        .choices(['broadcast', 'shared'])
        .default('broadcast'),
    )
    .option('--keep', 'leave the copy of the archive on the nodes')
    .option('--silence <seconds>', 'give a node up that says nothing for so long (default: 120)', silence)
  addDeployFlags(command)
  example(
    command,
    'salloc -N16 conda-deploy broadcast /shared/myenv.tar.zst',
    'prefix=$(conda-deploy broadcast /shared/myenv.tar.zst)   # in a batch script',
    'conda-deploy broadcast /shared/myenv.tar.zst --from shared --to /scratch/e',
  )
  command.action(async (archive: string, _: unknown, self: Command) => {
    const flags = self.optsWithGlobals<Flags>()
    const { from, keep, silence } = flags
    const { archive: __, dryRun, signal, reporter, ...deploy } = deployOptions(archive, flags, session)
    const { broadcast } = await import('../../slurm/broadcast.js')
    const result = await broadcast({ archive, from, keep, silence, deploy, dryRun, signal, reporter })
    const { terminal } = session
    terminal.result(result, result.dryRun ? summary(result) : prefixes(result))
    if (!result.dryRun) terminal.say(summary(result))
    for (const node of result.nodes) if (node.status === 'failed') terminal.warn(`${node.node} failed: ${node.message}`)
    session.status = statusOf(result)
  })
}

function silence(text: string): number {
  const value = Number(text)
  if (!/^\d{1,6}$/.test(text) || value < 10) throw new InvalidArgumentError('It must be a number of seconds from 10.')
  return value
}

/** Started by `broadcast` on each node, and told by it what to do. */
function addNodeTask(program: Command, { terminal, signal }: Session): void {
  program
    .command('broadcast-node', { hidden: true })
    .description('One node of a broadcast: conda-deploy broadcast starts it.')
    .option('--root <dir>', 'where the copy shall arrive')
    .action(async (_: unknown, self: Command) => {
      const { root } = self.opts<{ readonly root?: string }>()
      const { nodeTask } = await import('../../slurm/node-task.js')
      const { stdin } = process
      await nodeTask({ root, input: stdin, say: (lines) => terminal.print(lines), signal })
      stdin.destroy()
    })
}

/** One line where all nodes have the same, which they have unless their local folders differ. */
function prefixes({ nodes }: BroadcastResult): string {
  const found = nodes.flatMap((node) => ('prefix' in node ? [[node.node, node.prefix] as const] : []))
  const different = [...new Set(found.map(([, prefix]) => prefix))]
  return different.length > 1 ? found.map((pair) => pair.join('\t')).join('\n') : different.join('\n')
}

/** As that of the failures, when all are of a kind that may pass. */
function statusOf({ nodes }: BroadcastResult): number {
  const codes = nodes.flatMap((node) => (node.status === 'failed' ? [node.code] : []))
  if (codes.length === 0) return 0
  const statuses = codes.map((code) => (isErrorCode(code) ? new EnvError(code, '').exitStatus : 1))
  return statuses.every((status) => status === 75) ? 75 : 1
}

/** Nodes that are told one by one; of more only the failed and the slowest say something. */
const mostRows = 32

function summary(result: BroadcastResult): string {
  const { nodes, job, from, archive, size, copy, dryRun, failed, seconds } = result
  const how =
    from === 'shared' ? 'read by each node where it is' : `sent by sbcast${copy === null ? '' : ` to ${copy}`}`
  const head = aligned([
    ['job', `${job}, ${counted(nodes.length, 'node')}`],
    ['archive', `${archive}, ${bytes(size)}, ${how}`],
    ['would', dryRun ? `deploy it on ${nodes.map(({ node }) => node).join(', ')}` : undefined],
  ])
  if (dryRun) return head
  const done = nodes.filter((node) => 'prefix' in node).sort((a, b) => b.seconds - a.seconds)
  const rows =
    nodes.length <= mostRows ? nodes : [...nodes.filter(({ status }) => status === 'failed'), ...done.slice(0, 3)]
  const table = aligned(
    rows.map((node) => [
      node.node,
      'prefix' in node ? `${node.status}  ${duration(node.seconds)}  ${node.prefix}` : node.status,
    ]),
  )
  const { start, send, deploy, total } = seconds
  const took = `${duration(total)}: starting ${duration(start)}, sending ${duration(send)}, deploying ${duration(deploy)}`
  const end = aligned([
    ['nodes', failed === 0 ? 'all done' : `${count(nodes.length - failed)} done, ${count(failed)} failed`],
    ['took', took],
  ])
  return [head, table, end].join('\n')
}

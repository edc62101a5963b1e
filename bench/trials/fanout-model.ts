/**
 * What it costs N nodes to have an environment, as a formula: figures measured on one node, and what is assumed of a cluster. Pure; every
 * assumption is a member of `assumed`, with its reason.
 */

/** Of one environment and one job on one node, as measured here. */
export interface Measured {
  /** Seconds of the job's own work in an environment on local disk; of one processor, so that what else runs here does not count. */
  readonly work: number
  /** Seconds to have it there, by us and by the recipe (tar, chmod, conda-unpack). */
  readonly deploy: number
  readonly recipe: number
  /** Bytes of the archives. */
  readonly archive: number
  readonly tarball: number
  /** Operations and bytes that reach the server. */
  readonly direct: Load
  readonly recipeLoad: Load
  readonly deployLoad: Load
  /** Of a deployment that reads no archive: what starting and working asks for. */
  readonly ownLoad: Load
}

export interface Load {
  readonly operations: number
  readonly bytes: number
}

export interface Assumed {
  /** Tasks on a node, each of which opens its environment: as in the published run. */
  readonly tasks: number
  /** Operations a second that the shared file system serves to everybody. */
  readonly operations: number
  /** Bytes a second of it to everybody, and to one node; the same link carries sbcast. */
  readonly bandwidth: number
  readonly link: number
  /** Of sbcast: bytes of a block, nodes that each sender sends to, seconds until a block is acknowledged. */
  readonly block: number
  readonly fanout: number
  readonly acknowledged: number
  /** Seconds to start a step on all nodes. */
  readonly step: number
}

/**
 * OLCF's user documentation, "Sbcast Conda Environments": torch for ROCm on 8 nodes of Frontier with 8 tasks each, seconds. Two editions:
 * with pigz 39 of 77 are tar, with gzip 49 of 73. `direct`: the same script from Lustre, whose job took 57.
 */
export const published = {
  nodes: 8,
  tasks: 8,
  total: 77,
  untar: 39,
  unpack: 3,
  script: 2,
  direct: 51,
  directJob: 57,
} as const

/** `operations` follows from the published direct run, were its import to ask for as much as the work measured here. */
export function assumptions({ direct }: Measured): Assumed {
  const { nodes, tasks, script } = published
  return {
    tasks,
    operations: (nodes * tasks * direct.operations) / (published.direct - script),
    bandwidth: 20e9,
    link: 1.25e9,
    block: 8e6,
    fanout: 8,
    acknowledged: 0.002,
    step: 0.9,
  }
}

/** sbcast sends block after block, each through a tree whose senders send to their children one after the other. */
export function sending(bytes: number, nodes: number, { block, fanout, link, acknowledged }: Assumed): number {
  const sends: number[] = []
  for (let reached = 0, level = 1; reached < nodes; level *= fanout) {
    const children = Math.min(fanout, nodes - reached)
    sends.push((children * block) / link + acknowledged)
    reached += level * fanout
  }
  return (bytes / block) * sends.reduce((sum, seconds) => sum + seconds, 0)
}

export interface Cost {
  readonly seconds: number
  readonly operations: number
  readonly bytes: number
}

export type Way = 'direct' | 'recipe' | 'recipe by sbcast' | 'shared' | 'broadcast'
export const ways: readonly Way[] = ['direct', 'recipe', 'recipe by sbcast', 'shared', 'broadcast']

/** Until the work of all tasks is done on `nodes` nodes. */
export function costOf(way: Way, nodes: number, m: Measured, a: Assumed): Cost {
  const { perNode, once, onNode, steps, sent } = {
    direct: { perNode: times(m.direct, a.tasks), once: none, onNode: 0, steps: 0, sent: 0 },
    recipe: { perNode: m.recipeLoad, once: none, onNode: m.recipe, steps: 2, sent: 0 },
    'recipe by sbcast': { perNode: none, once: read(m.tarball), onNode: m.recipe, steps: 3, sent: m.tarball },
    shared: { perNode: m.deployLoad, once: none, onNode: m.deploy, steps: 1, sent: 0 },
    broadcast: { perNode: m.ownLoad, once: read(m.archive), onNode: m.deploy, steps: 1, sent: m.archive },
  }[way]
  const operations = nodes * perNode.operations + once.operations
  const bytes = nodes * perNode.bytes + once.bytes
  const waiting = Math.max(operations / a.operations, bytes / a.bandwidth, perNode.bytes / a.link)
  const seconds = waiting + (sent > 0 ? sending(sent, nodes, a) : 0) + steps * a.step + onNode + m.work
  return { seconds, operations: Math.round(operations), bytes: Math.round(bytes) }
}

const none: Load = { operations: 0, bytes: 0 }
const times = ({ operations, bytes }: Load, count: number): Load => ({
  operations: operations * count,
  bytes: bytes * count,
})
/** One file from its beginning to its end, in the pieces that the kernel asks for here. */
const read = (bytes: number): Load => ({ operations: Math.ceil(bytes / 131_072) + 3, bytes })

/** The fewest nodes from which on `way` is done before `other`; null: not up to `most`. */
export function crossing(way: Way, other: Way, most: number, m: Measured, a: Assumed): number | null {
  for (let nodes = 1; nodes <= most; nodes++)
    if (costOf(way, nodes, m, a).seconds < costOf(other, nodes, m, a).seconds) return nodes
  return null
}

/** The published run with our deployment in the place of tar and conda-unpack, were the environments alike: seconds of the whole job. */
export function publishedWithOurs({ deploy, recipe }: Measured): number {
  const { total, untar, unpack } = published
  return total - untar - unpack + ((untar + unpack) * deploy) / recipe
}

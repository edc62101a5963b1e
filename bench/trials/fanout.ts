/**
 * What it costs 1 to 1,024 nodes to have an environment: a model (fanout-model.ts), computed from what one node costs here, in seconds and in
 * operations at the server. Not a measurement of many nodes; where it runs in an allocation of Slurm, sbcast is measured there too.
 */
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Trial } from '../contender.js'
import { deploy } from '../contenders/ours.js'
import { recipe } from '../contenders/tar.js'
import { has, type Lab, sh } from '../lab.js'
import { race } from '../race.js'
import { type SharedCost, sharedCosts } from './accesses.js'
import { fanoutChart } from './fanout-chart.js'
import {
  type Assumed,
  assumptions,
  costOf,
  crossing,
  type Load,
  type Measured,
  published,
  publishedWithOurs,
  sending,
  ways,
} from './fanout-model.js'

const counts = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024] as const
const most = 1024

export const fanoutTrial: Trial = {
  name: 'fanout',
  title: 'many nodes: a model of 1 to 1,024, from what one costs here',
  corpora: ['jupyter'],
  slow: true,
  run(lab) {
    const measured = measuredHere(lab)
    const assumed = assumptions(measured)
    const curves = ways.map((way) => ({
      name: way,
      ours: way === 'shared' || way === 'broadcast',
      points: counts.map((nodes) => ({ nodes, ...costOf(way, nodes, measured, assumed) })),
    }))
    sh(`mkdir -p '${join(lab.root, 'bench/results')}'`)
    const title = 'N nodes have an environment and have worked in it (model)'
    writeFileSync(join(lab.root, 'bench/results/fanout.svg'), fanoutChart(title, curves))
    const text = [
      table('seconds', ({ seconds }) => seconds.toFixed(1), measured, assumed),
      table('operations at the shared file system', ({ operations }) => short(operations), measured, assumed),
      table('read from it', ({ bytes }) => `${short(bytes)}B`, measured, assumed),
      ...[told(measured), stated(assumed), checks(measured, assumed), sentHere(lab, assumed)],
    ]
    return { rows: [], bars: [], text: text.filter((part) => part !== '').join('\n\n') }
  },
}

function measuredHere(lab: Lab): Measured {
  const rows = race(lab, [deploy, recipe])
  // Of a machine that others use, the fastest run says most.
  const fastest = (name: string): number => rows.find(({ contender }) => contender === name)?.fastest ?? Number.NaN
  const costs = sharedCosts(lab)
  const of = (name: string): SharedCost => {
    const found = costs.find((cost) => cost.name === name)
    if (found === undefined) throw new Error(`${name} was not counted`)
    return found
  }
  const [cold, second] = [of('conda-deploy, cold'), of('conda-deploy, second job')]
  const load = ({ operations, bytes }: Load): Load => ({ operations, bytes })
  return {
    work: second.cpu,
    deploy: fastest(deploy.name),
    recipe: fastest(recipe.name),
    archive: statSync(lab.need('ours.tar.zst')).size,
    tarball: statSync(lab.need('recipe-j1.tar.gz')).size,
    direct: load(of('on the shared tree')),
    recipeLoad: load(of('conda-pack, tar, conda-unpack')),
    deployLoad: load(cold),
    ownLoad: load(second),
  }
}

const short = (amount: number): string => {
  const [divisor, unit] = [[1e12, 'T'] as const, [1e9, 'G'] as const, [1e6, 'M'] as const, [1e3, 'k'] as const].find(
    ([least]) => amount >= least,
  ) ?? [1, ' ']
  return `${(amount / divisor).toPrecision(3)} ${unit}`.trimEnd()
}

function table(what: string, cell: (cost: ReturnType<typeof costOf>) => string, m: Measured, a: Assumed): string {
  const head = [what, ...counts.filter((nodes) => nodes !== 2 && nodes !== 32 && nodes !== 512).map(String)]
  const lines = ways.map((way) => [way, ...head.slice(1).map((nodes) => cell(costOf(way, Number(nodes), m, a)))])
  return [head, head.map(() => '---'), ...lines].map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}

function told({ work, deploy: ours, recipe: theirs, archive, tarball, direct, deployLoad, ownLoad }: Measured): string {
  const load = ({ operations, bytes }: Load): string => `${short(operations)} operations and ${short(bytes)}B`
  return [
    'Measured here, for one node:',
    `- deploying ${ours.toFixed(2)} s, the recipe (tar -xzf, chmod, conda-unpack) ${theirs.toFixed(2)} s, the work ${work.toFixed(2)} s`,
    `- archives of ${short(archive)}B and ${short(tarball)}B (.tar.gz)`,
    `- at the server: direct ${load(direct)}; deploying from it and working ${load(deployLoad)}; of that without the archive ${load(ownLoad)}`,
  ].join('\n')
}

function stated(a: Assumed): string {
  return [
    'Assumed:',
    `- ${a.tasks} tasks a node open the environment; used directly, each asks the server for all of it (caches of a node help less than they could: they start together)`,
    `- the shared file system serves ${short(a.operations)} operations a second to all, which is what the published direct run comes to if its import asks for as much as the work here; and ${short(a.bandwidth)}B/s`,
    `- a node's link carries ${short(a.link)}B/s; sbcast sends blocks of ${short(a.block)}B, one after the other, down a tree of ${a.fanout} children, ${a.acknowledged * 1000} ms each to be acknowledged`,
    `- a step of srun starts in ${a.step} s on any number of nodes (the recipe: mkdir, tar, conda-unpack; ours: one)`,
    '- deploying and working take as long on every node as here; local disks are not shared',
  ].join('\n')
}

function checks(m: Measured, a: Assumed): string {
  const { nodes, total, untar, unpack, directJob } = published
  const first = (way: 'recipe by sbcast' | 'shared' | 'broadcast'): string => {
    const from = crossing(way, 'direct', most, m, a)
    return from === null ? 'never' : `from ${from} nodes on`
  }
  const better = crossing('broadcast', 'shared', most, m, a)
  const here = costOf('recipe by sbcast', nodes, m, a)
  const part = m.recipe / (here.seconds - m.work)
  return [
    `Against what OLCF published (${nodes} nodes; ${untar} s of ${total} s are tar, ${unpack} s conda-unpack; direct ${directJob} s):`,
    `- of what precedes the work at ${nodes} nodes, unpacking is ${(part * 100).toFixed(0)} % in the model, ` +
      `${(((untar + unpack) / (total - published.script)) * 100).toFixed(0)} % there, where it also loads modules`,
    `- direct is done before the recipe there; in the model the recipe by sbcast is the faster ${first('recipe by sbcast')}, ` +
      `from the shared file system by us ${first('shared')}, broadcast ${first('broadcast')}`,
    `- with our deployment, at the ratio measured here, their ${total} s become ${publishedWithOurs(m).toFixed(0)} s (direct: ${directJob} s)`,
    `- broadcast is done before shared ${better === null ? `for no N up to ${most}` : `from ${better} nodes on`}`,
  ].join('\n')
}

/** sbcast itself, where there is an allocation. */
function sentHere(lab: Lab, assumed: Assumed): string {
  const nodes = Number(process.env['SLURM_JOB_NUM_NODES'] ?? process.env['SLURM_NNODES'] ?? 0)
  if (nodes === 0 || !has('sbcast')) return 'sbcast was not measured: this is in no allocation of Slurm.'
  const archive = lab.need('ours.tar.zst')
  const there = join(tmpdir(), `conda-deploy-bench-${randomBytes(6).toString('hex')}`)
  try {
    const start = performance.now()
    execFileSync('sbcast', [archive, there], { stdio: ['ignore', 'ignore', 'inherit'] })
    const seconds = (performance.now() - start) / 1000
    const modelled = sending(statSync(archive).size, nodes, assumed)
    return `sbcast to the ${nodes} nodes of this allocation: ${seconds.toFixed(2)} s measured, ${modelled.toFixed(2)} s in the model.`
  } finally {
    execFileSync('srun', [`--nodes=${nodes}`, '--ntasks-per-node=1', '--overlap', 'rm', '-f', there], {
      stdio: 'ignore',
    })
  }
}

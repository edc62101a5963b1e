/**
 * How often a job touches shared storage: the environment, what it is deployed from and the home folder lie on it, as on a cluster. Counted by
 * this product's own tracer, which test/trace/strace.test.ts holds against strace.
 */
import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { chart } from '../../src/trace/chart.js'
import type { TraceReport } from '../../src/trace/report.js'
import type { Bar, Row, Trial } from '../contender.js'
import { clear, has, type Lab, sh } from '../lab.js'
import { measure } from '../measure.js'
import { rowOf } from '../race.js'
import { cannotServe, operationsOf } from '../served/served.js'

/** What a job does with its environment, activated as far as PATH goes. */
const works: readonly { readonly name: string; readonly needs: string; command(): string }[] = [
  {
    name: 'jupyter --version',
    needs: 'bin/jupyter',
    command: () => 'jupyter --version',
  },
  {
    name: 'imports',
    needs: 'bin/python',
    command: () => "python -c 'import json, email, asyncio, unittest, sqlite3, ssl'",
  },
  {
    name: 'notebook start',
    needs: 'lib/python3.11/site-packages/notebook/notebookapp.py',
    command: () =>
      `python -c 'from notebook.notebookapp import NotebookApp as A; A().initialize(["--no-browser", "--allow-root", "--port=0"])'`,
  },
]

interface Site {
  readonly lab: Lab
  /** Where we are installed, as npm installs: on shared storage. */
  readonly ours: string
  readonly home: string
  /** Everything that counts as shared: the environment, and a folder with the archives, our installation and the home folder. */
  readonly shared: readonly string[]
  readonly archives: string
  /** Operations are counted at the server too. */
  readonly isServed: boolean
}

interface Way {
  readonly name: string
  /** Puts the environment where `prefix` says; empty: nothing to do. */
  deploy(site: Site, target: string): string
  prefix(site: Site, target: string): string
  /** Around the work: what starts and ends it. */
  around?(site: Site, target: string, work: string): string
  missing?(site: Site): string | undefined
  /** Leaves what the way before it made. */
  readonly continues?: boolean
}

const ours = ({ archives, ours: program }: Site, target: string): string =>
  `'${program}' '${archives}/ours.tar.zst' --to '${target}' --quiet`
const deployed = (_: Site, target: string): string => target

const ways: readonly Way[] = [
  { name: 'on the shared tree', deploy: () => '', prefix: ({ lab }) => lab.env },
  {
    name: 'conda-pack, tar, conda-unpack',
    deploy: ({ archives }, target) =>
      `mkdir '${target}'; tar -xzf '${archives}/recipe-j1.tar.gz' -C '${target}'; chmod -R u+w '${target}'; ` +
      `PATH='${target}/bin':"$PATH" '${target}/bin/conda-unpack' >/dev/null 2>&1`,
    prefix: deployed,
  },
  {
    name: 'squashfs mounted from the shared tree',
    deploy: () => '',
    prefix: deployed,
    around: ({ archives }, target, work) =>
      `mkdir '${target}'; squashfuse '${archives}/image.squashfs' '${target}'; trap "fusermount3 -u '${target}'; rmdir '${target}'" EXIT; ${work}`,
    missing: () => (has('mksquashfs') && has('squashfuse') ? undefined : 'squashfs-tools or squashfuse: not installed'),
  },
  { name: 'conda-deploy, cold', deploy: ours, prefix: deployed },
  { name: 'conda-deploy, second job', deploy: ours, prefix: deployed, continues: true },
]

interface Seen {
  readonly accesses: number
  readonly read: number
}

/** One run under the tracer. */
function traced(site: Site, command: string): Seen {
  const file = join(site.lab.folder, 'trace.json')
  const declared = site.shared.flatMap((folder) => ['--shared', folder])
  const flags = ['trace', '--quiet', '--bytes', '--top', '0', '--home', site.home, '--output', file, ...declared]
  const env = { ...process.env, HOME: site.home }
  execFileSync('sh', ['-c', `exec ${site.lab.ours} "$@"`, 'sh', ...flags, '--', 'sh', '-ec', command], {
    env,
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const report = JSON.parse(readFileSync(file, 'utf8')) as TraceReport
  const read = report.bytes?.shared
  return { accesses: report.servers.shared.calls, read: (read?.read ?? 0) + (read?.mapped ?? 0) }
}

/** As npm lays it out, without what is not started. */
function install(lab: Lab, folder: string): string {
  for (const part of ['dist', 'build/Release']) mkdirSync(join(folder, part), { recursive: true })
  for (const file of ['package.json', 'dist/conda-deploy.cjs', 'build/Release/conda_deploy.node'])
    cpSync(join(lab.root, file), join(folder, file))
  return join(folder, 'dist/conda-deploy.cjs')
}

function openSite(lab: Lab): Site {
  const archives = join(lab.folder, 'shared')
  const home = join(archives, 'home')
  mkdirSync(home, { recursive: true })
  const names = [
    'ours.tar.zst',
    'recipe-j1.tar.gz',
    ...(has('mksquashfs') ? (['image.squashfs'] as const) : []),
  ] as const
  for (const name of names) {
    rmSync(join(archives, name), { force: true })
    linkSync(lab.need(name), join(archives, name))
  }
  const reason = cannotServe(lab)
  if (reason !== undefined) console.error(`not counted: accesses: ${reason}`)
  const program = install(lab, join(archives, 'installed'))
  return { lab, home, shared: [lab.env, archives], ours: program, archives, isServed: reason === undefined }
}

interface Counts {
  readonly row: Row
  /** Shared accesses. */
  readonly deploying: number
  readonly running: number
}

function countWay(site: Site, way: Way, target: string): Counts {
  const { lab } = site
  const usable = works.filter(({ needs }) => existsSync(join(lab.env, needs)))
  const prefix = way.prefix(site, target)
  const wrapped = (work: string): string => way.around?.(site, target, work) ?? work
  const activated = (work: string): string => `PATH='${prefix}/bin':"$PATH" ${work}`
  const deploy = way.deploy(site, target)
  const jobs = usable.map(({ command }) => wrapped(activated(command())))
  const deploying = deploy === '' ? { accesses: 0, read: 0 } : traced(site, deploy)
  const each = jobs.map((work) => traced(site, work))
  const running = each.reduce((sum, { accesses }) => sum + accesses, 0)
  const counted: Record<string, number> = {
    'shared accesses to deploy': deploying.accesses,
    ...Object.fromEntries(usable.map(({ name }, i) => [`of ${name}`, each[i]?.accesses ?? 0])),
    'shared bytes read': each.reduce((sum, { read }) => sum + read, deploying.read),
  }
  // Untraced: deploying again from nothing, and the same work.
  const fresh = (): void => {
    if (way.continues !== true) clear(target)
  }
  const all = [deploy, ...jobs.map((work) => `(${work})`)].filter((part) => part !== '').join('; ')
  if (site.isServed) {
    fresh()
    const served = operationsOf(lab, site.shared, all, site.home)
    counted['operations at the server'] = served.operations
    counted['bytes from the server'] = served.bytes
  }
  fresh()
  const run = measure(lab.root, `export HOME='${site.home}'; ${all}`)
  return { row: { ...rowOf(way.name, [run]), counted }, deploying: deploying.accesses, running }
}

export const accessesTrial: Trial = {
  name: 'accesses',
  title: 'accesses to shared storage, to deploy and to work (seconds: one run, untraced)',
  corpora: ['jupyter'],
  run(lab) {
    const all = countAll(lab)
    writeChart(lab, all)
    return { rows: all.map(({ row }) => row), bars: bars(all) }
  },
}

export interface SharedCost {
  readonly name: string
  /** Of deploying and working: at the server, or, where that cannot be counted, by processes. */
  readonly operations: number
  readonly bytes: number
  /** Seconds of processors, untraced, one run. */
  readonly cpu: number
}

/** What one node costs shared storage, in each way that is possible here. */
export function sharedCosts(lab: Lab): SharedCost[] {
  return countAll(lab).map(({ row, deploying, running }) => {
    const { 'operations at the server': operations, 'bytes from the server': bytes } = row.counted ?? {}
    return {
      ...{ name: row.contender, cpu: row.cpu, operations: operations ?? deploying + running },
      bytes: bytes ?? row.counted?.['shared bytes read'] ?? 0,
    }
  })
}

function countAll(lab: Lab): Counts[] {
  const site = openSite(lab)
  const target = join(lab.folder, 'on-the-node')
  const all: Counts[] = []
  for (const way of ways) {
    const reason = way.missing?.(site)
    if (reason !== undefined) {
      console.error(`not counted: ${way.name}: ${reason}`)
      continue
    }
    if (way.continues !== true) clear(target)
    all.push(countWay(site, way, target))
  }
  clear(target)
  return all
}

function bars(all: readonly Counts[]): Bar[] {
  const of = (name: string): Counts | undefined => all.find(({ row }) => row.contender === name)
  const [before, cold, second] = [of('on the shared tree'), of('conda-deploy, cold'), of('conda-deploy, second job')]
  if (before === undefined || cold === undefined || second === undefined) return []
  return [
    { text: 'accesses of conda-deploy itself to shared storage', value: cold.deploying, limit: 6, is: 'at most' },
    { text: 'the same, second job', value: second.deploying, limit: 6, is: 'at most' },
    {
      text: 'shared accesses while working, of those on the shared tree',
      value: cold.running / before.running,
      limit: 0.05,
      is: 'at most',
    },
  ]
}

/** Beside the results, for the README. */
function writeChart(lab: Lab, all: readonly Counts[]): void {
  const drawn = all.map(({ row, deploying, running }) => ({
    ...{ label: row.contender, shared: deploying + running, local: 0, unknown: 0 },
  }))
  sh(`mkdir -p '${join(lab.root, 'bench/results')}'`)
  writeFileSync(
    join(lab.root, 'bench/results/accesses.svg'),
    chart('Accesses to shared storage: deploying and working', drawn),
  )
}

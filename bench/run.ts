/**
 * `npm run bench [-- TRIAL…] [--quick] [--corpus NAME]… [--rounds N] [--env PREFIX] [--work DIR] [--threads N] [--save]`: see README.md here.
 * Contenders are in contenders/, what is asked of them in trials/, the environments in corpus/, the machine's floor in floor/.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { arch, availableParallelism, cpus, loadavg, release, tmpdir, totalmem } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { charts } from './chart.js'
import type { CorpusName } from './corpus/corpus.js'
import { buildPrograms, closeLab, makeWork, openLab, removeWork, type Settings } from './lab.js'
import { isMet, type Result, table } from './report.js'
import { accessesTrial } from './trials/accesses.js'
import { concurrencyTrial } from './trials/concurrency.js'
import { callsTrial, diskTrial } from './trials/cost.js'
import { deltaTrial } from './trials/delta.js'
import { againTrial, deployTrial, foreignTrial, importTrial, threadsTrial } from './trials/deploy.js'
import { fanoutTrial } from './trials/fanout.js'
import { installTrial } from './trials/install.js'
import { packTrial, verifyTrial } from './trials/pack.js'
import { scaleTrial } from './trials/scale.js'
import { solveTrial } from './trials/solve.js'
import { startupTrial } from './trials/startup.js'
import { tracingTrial } from './trials/tracing.js'

const trials = [
  ...[
    startupTrial,
    deployTrial,
    againTrial,
    deltaTrial,
    foreignTrial,
    packTrial,
    verifyTrial,
    threadsTrial,
    importTrial,
    installTrial,
  ],
  ...[solveTrial, accessesTrial, fanoutTrial, tracingTrial, callsTrial, diskTrial, concurrencyTrial, scaleTrial],
]
const corpora: readonly CorpusName[] = ['jupyter', 'large', 'scale']

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..')
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: 'boolean', default: false },
    corpus: { type: 'string', multiple: true },
    rounds: { type: 'string' },
    env: { type: 'string' },
    work: { type: 'string' },
    threads: { type: 'string' },
    save: { type: 'boolean', default: false },
  },
})
// Where it is set, Node reads that file at every start: 38 ms for Debian's, in our rows and in the floor, and none in those of programs that are not Node.
delete process.env['NODE_EXTRA_CA_CERTS']
const quick = values.quick || positionals.includes('quick')
const named = positionals.filter((name) => name !== 'quick')

function refuse(message: string): never {
  console.error(`bench: ${message}`)
  process.exit(2)
}

const unknown = named.find((name) => !trials.some((trial) => trial.name === name))
if (unknown !== undefined) refuse(`no trial '${unknown}'; there are ${trials.map(({ name }) => name).join(', ')}`)
const odd = values.corpus?.find((name) => !corpora.some((corpus) => corpus === name))
if (odd !== undefined) refuse(`no corpus '${odd}'; there are ${corpora.join(', ')}`)

const work = makeWork(values.work ?? (existsSync('/dev/shm') ? '/dev/shm' : tmpdir()))
process.on('SIGINT', () => {
  removeWork(work)
  process.exit(130)
})

/** Rounds that a full run takes ten minutes with. */
const roundsOf = (corpus: CorpusName): number => Number(values.rounds ?? (corpus !== 'jupyter' || quick ? 3 : 7))

function settingsOf(corpus: CorpusName): Settings {
  return {
    ...{ root, work, quick, rounds: roundsOf(corpus), condaPack: process.env['CONDA_PACK'] },
    threads: Number(values.threads ?? availableParallelism()),
    ours: `'${join(root, 'dist/conda-deploy.cjs')}'`,
    ...buildPrograms(root),
  }
}

function chosen(corpus: CorpusName): typeof trials {
  if (values.corpus !== undefined && !values.corpus.includes(corpus)) return []
  if (values.corpus === undefined && quick && corpus !== 'jupyter') return []
  const wanted = trials.filter((trial) => trial.corpora.includes(corpus))
  return wanted.filter((trial) => (named.length > 0 ? named.includes(trial.name) : !(quick && trial.slow)))
}

const commit = execFileSync('git', ['describe', '--always', '--dirty'], { cwd: root, encoding: 'utf8' }).trim()
const machine = {
  cpu: cpus()[0]?.model.trim() ?? 'unknown',
  threads: availableParallelism(),
  memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
  system: `Linux ${release()} ${arch()}`,
  node: process.version,
  load: loadavg().map((load) => Number(load.toFixed(2))),
}
console.log(`${Object.values(machine).join(', ')}; commit ${commit}\n`)

const results: Result[] = []
const about: Record<string, string> = {}
try {
  for (const corpus of corpora) {
    const wanted = chosen(corpus)
    if (wanted.length === 0) continue
    const lab = openLab(settingsOf(corpus), corpus, corpus === 'jupyter' ? values.env : undefined)
    about[corpus] = lab.about
    console.log(`## ${corpus}: ${lab.about}\n`)
    for (const { name, title, run } of wanted) {
      const result = { trial: name, title, corpus, ...run(lab) }
      results.push(result)
      console.log(table(result))
    }
    closeLab(lab)
  }
} finally {
  removeWork(work)
}

const bars = results.flatMap((result) => result.bars)
console.log(`${bars.filter(isMet).length} of ${bars.length} bars met`)
if (values.save) save()

function save(): void {
  const version = (JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }).version
  const folder = join(root, 'bench/results')
  mkdirSync(folder, { recursive: true })
  const recipe = process.env['CONDA_PACK'] ? 'conda-pack' : 'tar and gzip of our tree'
  const record = { version, commit, machine, corpora: about, recipe, results }
  writeFileSync(join(folder, `${version}.json`), `${JSON.stringify(record, null, 2)}\n`)
  for (const [name, svg] of charts(results, about)) writeFileSync(join(folder, name), svg)
  console.log(`saved bench/results/${version}.json`)
}

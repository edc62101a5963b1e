/**
 * `npm run bench [-- TRIAL…] [--rounds N] [--env PREFIX] [--work DIR] [--threads N] [--save]`: contenders alternate within each round, every run
 * is its own process, medians are compared, and the machine's floor stands beside them. bench/README.md says what is measured.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { arch, cpus, release, totalmem } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import type { Trial } from './contender.js'
import { clear, closeLab, type Lab, openLab } from './lab.js'
import { type Measurement, measure, median } from './measure.js'
import { againTrial } from './trials/again.js'
import { deployTrial } from './trials/deploy.js'
import { packTrial } from './trials/pack.js'
import { verifyTrial } from './trials/verify.js'

const trials: readonly Trial[] = [deployTrial, againTrial, packTrial, verifyTrial]

interface Row {
  readonly contender: string
  readonly wall: number
  readonly fastest: number
  readonly slowest: number
  readonly cpu: number
  readonly memory: number
  /** Size of the file it made, if it made one. */
  readonly bytes?: number
}

interface Result {
  readonly trial: string
  readonly title: string
  readonly rows: readonly Row[]
  /** Sum of the floor's medians, seconds; 0: the trial has none. */
  readonly floor: number
}

function outputSize(target: string): number | undefined {
  for (const suffix of ['.tar.zst', '.tar.gz']) {
    const found = statSync(target + suffix, { throwIfNoEntry: false })
    if (found) return found.size
  }
  return undefined
}

function runTrial(lab: Lab, trial: Trial, rounds: number): Result {
  const script = join(lab.root, 'bench/measure.py')
  const runs = new Map<string, Measurement[]>()
  const sizes = new Map<string, number>()
  for (let round = 0; round <= rounds; round++) {
    for (const contender of trial.contenders) {
      const reason = contender.missing?.(lab)
      if (reason !== undefined) {
        if (round === 0) console.error(`skipped: ${contender.name}: ${reason}`)
        continue
      }
      const target = join(lab.work, 'target')
      trial.before?.(lab, target)
      const measured = measure(script, contender.command(lab, target))
      if (round === 0) {
        trial.check?.(lab, contender, target)
        const size = outputSize(target)
        if (size !== undefined) sizes.set(contender.name, size)
      } else {
        runs.set(contender.name, [...(runs.get(contender.name) ?? []), measured])
      }
      for (const left of [target, `${target}.tar.zst`, `${target}.tar.gz`]) clear(left)
    }
  }
  const rows = [...runs].map(([contender, measured]): Row => {
    const walls = measured.map((m) => m.wall)
    const bytes = sizes.get(contender)
    return {
      contender,
      wall: median(walls),
      fastest: Math.min(...walls),
      slowest: Math.max(...walls),
      cpu: median(measured.map((m) => m.user + m.system)),
      memory: Math.max(...measured.map((m) => m.memory)),
      ...(bytes === undefined ? {} : { bytes }),
    }
  })
  const floor = rows.filter((r) => trial.floor.includes(r.contender)).reduce((sum, r) => sum + r.wall, 0)
  return { trial: trial.name, title: trial.title, rows, floor }
}

function table(result: Result): string {
  const first = result.rows[0]?.wall ?? Number.NaN
  const withFloor = result.floor > 0
  const head = [
    '',
    'seconds (median)',
    'fastest–slowest',
    'ratio to ours',
    ...(withFloor ? ['ratio to the floor'] : []),
    'CPU s',
    'peak MB',
    'file MB',
  ]
  const lines = result.rows.map((r) => [
    r.contender,
    r.wall.toFixed(3),
    `${r.fastest.toFixed(3)}–${r.slowest.toFixed(3)}`,
    (r.wall / first).toFixed(2),
    ...(withFloor ? [(r.wall / result.floor).toFixed(2)] : []),
    r.cpu.toFixed(2),
    (r.memory / 1e6).toFixed(0),
    r.bytes === undefined ? '' : (r.bytes / 1e6).toFixed(1),
  ])
  const floor = withFloor ? `\n\nThe floor: ${result.floor.toFixed(3)} s.` : ''
  const markdown = [head, head.map(() => '---'), ...lines].map((cells) => `| ${cells.join(' | ')} |`).join('\n')
  return `### ${result.trial}: ${result.title}\n\n${markdown}${floor}\n`
}

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..')
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '7' },
    env: { type: 'string' },
    work: { type: 'string' },
    threads: { type: 'string' },
    save: { type: 'boolean', default: false },
  },
})
const unknown = positionals.find((name) => !trials.some((t) => t.name === name))
if (unknown !== undefined) {
  console.error(`bench: no trial '${unknown}'; there are ${trials.map((t) => t.name).join(', ')}`)
  process.exit(2)
}

const lab = await openLab(root, {
  ...(values.env === undefined ? {} : { env: values.env }),
  ...(values.work === undefined ? {} : { work: values.work }),
  ...(values.threads === undefined ? {} : { threads: Number(values.threads) }),
})
try {
  const chosen = trials.filter((t) => positionals.length === 0 || positionals.includes(t.name))
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: root, encoding: 'utf8' }).trim()
  const machine = `${cpus()[0]?.model.trim()}, ${lab.threads} threads, Linux ${release()} ${arch()}, ${Math.round(totalmem() / 2 ** 30)} GiB, node ${process.version}`
  console.log(`${lab.corpus}; ${machine}; commit ${commit}; recipe archive by ${lab.recipeMaker}\n`)
  const results: Result[] = []
  for (const trial of chosen) {
    const result = runTrial(lab, trial, Number(values.rounds))
    results.push(result)
    console.log(table(result))
  }
  if (values.save) {
    const version = (JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }).version
    mkdirSync(join(root, 'bench/results'), { recursive: true })
    const file = join(root, 'bench/results', `${version}.json`)
    writeFileSync(
      file,
      `${JSON.stringify({ machine, corpus: lab.corpus, commit, recipe: lab.recipeMaker, results }, null, 2)}\n`,
    )
    console.log(`saved ${file}`)
  }
} finally {
  closeLab(lab)
}

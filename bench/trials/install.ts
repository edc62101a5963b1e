/** From packages to an environment: with the packages as archives (cold), and unpacked in the cache (warm). */
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Bar, Row, Trial } from '../contender.js'
import { bareCreation, node } from '../contenders/floor.js'
import { channelFolder } from '../corpus/corpus.js'
import { clear, has, type Lab } from '../lab.js'
import { type Measurement, measure, median } from '../measure.js'
import { rowOf } from '../race.js'

type Phases = Readonly<Record<string, number>>

/** One way, in every round: what it cost as a process, and what it says itself of its phases. */
class Way {
  readonly name: string
  readonly #command: (target: string) => string
  readonly #before: () => void
  readonly measured: Measurement[] = []
  readonly phases: Phases[] = []

  constructor(name: string, command: (target: string) => string, before: () => void = () => undefined) {
    this.name = name
    this.#command = command
    this.#before = before
  }

  run(lab: Lab, counted: boolean): void {
    const target = join(lab.folder, 'target')
    const said = join(lab.folder, 'said.json')
    this.#before()
    const measured = measure(lab.root, `${this.#command(target)} > '${said}'`)
    clear(target)
    if (!counted) return
    this.measured.push(measured)
    const text = readFileSync(said, 'utf8')
    const document = (text.startsWith('{') ? JSON.parse(text) : {}) as { seconds?: Phases } & Phases
    this.phases.push(document.seconds ?? document)
  }

  row(): Row {
    return rowOf(this.name, this.measured)
  }

  /** Of one phase: no process of its own, so that only its time is known. */
  phase(name: string, ...phases: string[]): Row {
    const walls = this.phases.map((one) => phases.reduce((sum, phase) => sum + (one[phase] ?? Number.NaN), 0))
    const nothing = { cpu: Number.NaN, memory: Number.NaN }
    return {
      contender: name,
      wall: median(walls),
      fastest: Math.min(...walls),
      slowest: Math.max(...walls),
      ...nothing,
    }
  }
}

/** The installer of the channel says its seconds to a tenth; so it is not asked to round. */
const exactly =
  "import builtins, runpy, sys; builtins.round = lambda value, digits=0: value; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"

const extracting =
  'import sys, os, conda_package_handling.api as api\n' +
  'for line in sys.stdin: api.extract(line.strip(), dest_dir=os.path.join(sys.argv[1], os.path.basename(line.strip())))'

function waysOf(lab: Lab, channel: string) {
  const specs = readFileSync(join(channel, 'specs-jupyter.txt'), 'utf8')
    .split('\n')
    .map((line) => line.replace(/#.*/, '').trim())
    .filter((line) => line !== '')
  const home = (name: string): string => join(lab.folder, name)
  const create = (at: string, target: string): string =>
    `HOME='${at}' ${lab.ours} create -p '${target}' -c '${channel}' --override-channels --offline --json -q ` +
    `--threads ${lab.threads} ${specs.join(' ')}`
  const theirs = (at: string, target: string): string =>
    `PYTHONDONTWRITEBYTECODE=1 python3 -c "${exactly}" '${channel}/make_env.py' ${specs.join(',')} --channel '${channel}' ` +
    `--prefix '${target}/envs/env' --pkgs-dir '${at}/pkgs' --jobs ${lab.threads} --no-pyc`
  const fresh = (name: string) => () => {
    clear(home(name))
    mkdirSync(home(name))
  }
  const archives = ['linux-64', 'noarch'].flatMap((subdir) =>
    readdirSync(join(channel, subdir)).flatMap((name) =>
      /\.(conda|tar\.bz2)$/.test(name) ? join(channel, subdir, name) : [],
    ),
  )
  const warm = home('warm')
  const packed = `HOME='${warm}' ${lab.ours} pack --from-packages -c '${channel}' --override-channels --offline --json -q`
  for (const name of ['warm', 'theirs']) fresh(name)()
  return {
    cold: new Way('conda-deploy create, cold', (target) => create(home('cold'), target), fresh('cold')),
    warm: new Way('conda-deploy create, warm', (target) => create(warm, target)),
    straight: new Way(
      'conda-deploy pack --from-packages, warm',
      (target) => `${packed} -o '${target}.tar.zst' --force --threads ${lab.threads} ${specs.join(' ')}`,
    ),
    cph: new Way(
      'cph extract, all in one process',
      (target) =>
        `mkdir '${target}'; printf '%s\\n' ${archives.join(' ')} | $(sed -n '1s/^#! *//p' "$(command -v cph)") -c "${extracting}" '${target}'`,
    ),
    theirs: new Way("the channel's installer, warm, not compiling", (target) => theirs(home('theirs'), target)),
    create: new Way(bareCreation.name, (target) => `( ${bareCreation.command(lab, target)} )`),
    node: new Way(node.name, (target) => `( ${node.command(lab, target)} )`),
  }
}

export const installTrial: Trial = {
  name: 'install',
  title: 'from packages to an environment, and straight to an archive',
  corpora: ['jupyter'],
  run(lab) {
    const channel = channelFolder(lab.root)
    if (channel === undefined || !existsSync(join(channel, 'make_env.py')) || !has('bzip2')) {
      console.error('not counted: install: no conda packages (CONDA_DEPLOY_CHANNEL), or no bzip2')
      return { rows: [], bars: [] }
    }
    const { cph, ...others } = waysOf(lab, channel)
    const ways = has('cph') ? { ...others, cph } : others
    if (!('cph' in ways)) console.error('not counted: cph is not installed (conda-package-handling)')
    for (let round = 0; round <= lab.rounds; round++) for (const way of Object.values(ways)) way.run(lab, round > 0)
    clear(join(lab.folder, 'target.tar.zst'))
    const { cold, warm, straight, theirs, create, node: start } = ways
    const unpack = cold.phase('of it: unpacking all packages', 'unpack')
    const compile = cold.phase('of it: compiling Python', 'compile')
    const link = warm.phase('of it: linking', 'link')
    const linked = theirs.phase('of it: linking', 'link_s')
    const floor = create.row().wall + start.row().wall
    const rows = [cold.row(), unpack, compile, warm.row(), link, straight.row()]
    const more = [...('cph' in ways ? [cph.row()] : []), theirs.row(), linked, create.row(), start.row()]
    const bar = (text: string, value: number, limit: number, is: Bar['is']): Bar => ({ text, value, limit, is })
    return {
      rows: [...rows, ...more],
      floor,
      bars: [
        ...('cph' in ways ? [bar('unpacking, times as fast as cph', cph.row().wall / unpack.wall, 4, 'at least')] : []),
        bar("linking, times as fast as the channel's installer", linked.wall / link.wall, 5, 'at least'),
        bar('create, warm ÷ the floor', warm.row().wall / floor, 2, 'at most'),
      ],
    }
  },
}

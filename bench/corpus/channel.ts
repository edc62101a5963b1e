/**
 * An index of a channel as large as conda-forge's for one platform, and of its kind: a few hundred libraries of many builds that nearly
 * everything needs, thousands of packages of a few versions that need them, Python and each other. The same for the same number.
 */
import { closeSync, mkdirSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'

const libraries = 300
const builds = 60
const versions = 12

/** Numbers that look like chance, the same each time (mulberry32). */
function chance(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

/** Writes `linux-64/repodata.json` and an empty `noarch` beneath `channel`. `records`: about so many. */
export function growChannel(channel: string, records: number): void {
  const pick = chance(7)
  const hex = (length: number): string => Array.from({ length }, () => pick(16).toString(16)).join('')
  for (const subdir of ['linux-64', 'noarch']) mkdirSync(join(channel, subdir), { recursive: true })
  const file = openSync(join(channel, 'linux-64/repodata.json'), 'w')
  let lines: string[] = []
  let written = 0
  const flush = (): void => {
    writeSync(file, lines.join(''))
    lines = []
  }
  const add = (name: string, version: string, build: string, number: number, depends: readonly string[]): void => {
    const fn = `${name}-${version}-${build}.conda`
    const document = {
      ...{ build, build_number: number, depends, license: 'BSD-3-Clause', md5: hex(32), name, sha256: hex(64) },
      ...{ size: 1000 + pick(1e6), subdir: 'linux-64', timestamp: 1.6e12 + pick(1e11), version },
    }
    lines.push(`${written++ === 0 ? '' : ','}${JSON.stringify(fn)}:${JSON.stringify(document)}`)
    if (lines.length === 5000) flush()
  }
  writeSync(file, '{"info":{"subdir":"linux-64"},"packages":{},"packages.conda":{')
  for (let minor = 8; minor <= 13; minor++)
    for (let patch = 0; patch < 12; patch++)
      add('python', `3.${minor}.${patch}`, `h${hex(7)}_${patch}_cpython`, patch, [
        'libgcc-ng >=12',
        'lib-1 >=1.2,<3.0a0',
        'lib-2',
      ])
  add('libgcc-ng', '12.3', 'h0_0', 0, ['__glibc >=2.17'])
  for (let lib = 0; lib < libraries; lib++) {
    // What a package needs is the same in all its versions; from which version on is not.
    const lower = lib < 2 ? [] : Array.from({ length: pick(3) }, () => pick(lib))
    for (let build = 0; build < builds; build++) {
      const bounds = lower.map((other) => `lib-${other} >=1.${build >> 2},<3.0a0`)
      const text = `h${hex(7)}_${build % 3}`
      add(`lib-${lib}`, `${1 + (build >> 5)}.${build & 31}`, text, build % 3, ['libgcc-ng >=12', ...bounds])
    }
  }
  for (let number = 0; written < records; number++) {
    const needed = Array.from({ length: 1 + pick(4) }, () => pick(libraries))
    const others = number === 0 ? [] : Array.from({ length: pick(3) }, () => pick(number))
    for (let one = 0; one < versions; one++) {
      const minor = 8 + (one % 6)
      const release = 1 + Math.floor(one / 6)
      const bounds = needed.map((lib) => `lib-${lib} >=1.${2 * release},<3.0a0`)
      const more = others.map((other) => `package-${other} >=${release}.0`)
      const python = [`python >=3.${minor},<3.${minor + 1}.0a0`, `python_abi 3.${minor}.* *_cp3${minor}`]
      add(`package-${number}`, `${release}.${number % 10}`, `py3${minor}h${hex(7)}_0`, 0, [
        ...bounds,
        ...more,
        ...python,
      ])
    }
  }
  for (let minor = 8; minor <= 13; minor++) add('python_abi', `3.${minor}`, `5_cp3${minor}`, 5, [`python 3.${minor}.*`])
  flush()
  writeSync(file, '},"removed":[],"repodata_version":1}\n')
  closeSync(file)
  const empty = openSync(join(channel, 'noarch/repodata.json'), 'w')
  writeSync(empty, '{"info":{"subdir":"noarch"},"packages":{},"packages.conda":{},"removed":[]}\n')
  closeSync(empty)
}

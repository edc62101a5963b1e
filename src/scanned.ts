/** What a scan finds crosses the border in columns, and becomes objects here: see `Scanned`. */
import type { Scanned } from './jobs.js'

export interface ScannedColumns {
  /** Path, target and inode of each, one behind another, and where each ends: three an entry, equal where there is none. */
  readonly names: string
  readonly ends: Uint32Array
  /** Five an entry: kind, mode, mtime, size, names outside of the tree. */
  readonly numbers: Float64Array
}

/** Numbers of the core. */
const kinds: Readonly<Record<number, Scanned['kind']>> = { 0: 'directory', 1: 'file', 2: 'symlink' }

type Writable<T> = { -readonly [K in keyof T]: T[K] }

/** An integer of 32 bits that V8 keeps in the object: what comes from an array of doubles takes 16 bytes of its own. */
const small = (value: number): number => ((value | 0) === value ? value | 0 : value)

export function scannedOf({ names, ends, numbers }: ScannedColumns): Scanned[] {
  const at = (list: ArrayLike<number>, i: number): number => list[i] as number
  const all: Scanned[] = []
  for (let i = 0, begin = 0; 3 * i < ends.length; i++) {
    const [path, target, end] = [at(ends, 3 * i), at(ends, 3 * i + 1), at(ends, 3 * i + 2)]
    const one: Writable<Scanned> = {
      path: names.slice(begin, path),
      kind: kinds[at(numbers, 5 * i)] ?? 'other',
      mode: small(at(numbers, 5 * i + 1)),
      mtime: small(at(numbers, 5 * i + 2)),
      size: small(at(numbers, 5 * i + 3)),
    }
    if (one.kind === 'symlink') one.target = names.slice(path, target)
    if (end > target) one.inode = names.slice(target, end)
    const outside = at(numbers, 5 * i + 4)
    if (outside > 0) one.outside = outside
    all.push(one)
    begin = end
  }
  return all
}

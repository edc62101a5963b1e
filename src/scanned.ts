/** What a scan finds crosses the border in columns, and much of it stays there: a `Scanned` is made when it is asked for. */
import type { Scanned } from './jobs.js'
import { type List, lazyList, many } from './list.js'

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

export function scannedOf({ names, ends, numbers }: ScannedColumns): List<Scanned> {
  const number = (i: number): number => numbers[i] as number
  const end = (i: number): number => ends[i] ?? 0
  const list = lazyList(ends.length / 3, (i) => {
    const [path, target, inode] = [end(3 * i), end(3 * i + 1), end(3 * i + 2)]
    const one: Writable<Scanned> = {
      path: names.slice(end(3 * i - 1), path),
      kind: kinds[number(5 * i)] ?? 'other',
      mode: number(5 * i + 1),
      mtime: number(5 * i + 2),
      size: number(5 * i + 3),
    }
    if (one.kind === 'symlink') one.target = names.slice(path, target)
    if (inode > target) one.inode = names.slice(target, inode)
    const outside = number(5 * i + 4)
    if (outside > 0) one.outside = outside
    return one
  })
  return list.length < many ? [...list] : list
}

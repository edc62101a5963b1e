/** The paths that packages own in a prefix, in columns: a large environment has hundreds of thousands. */
import { type List, lazyList } from '../list.js'
import { installedPath } from './noarch.js'
import { readPackagePaths } from './package-cache.js'
import type { PathRecord } from './paths.js'
import type { PrefixRecord } from './record.js'

export interface OwnedFile {
  /** In the prefix. */
  readonly path: string
  /** Null: the package only lists it. */
  readonly recorded: Known | null
}

export type Known = Omit<PathRecord, 'path' | 'noLink'>
type Writable<T> = { -readonly [K in keyof T]: T[K] }

/** Every path once; `.nonadmin` is a marker of installers on Windows, never a file of the package. */
export function ownedBy(record: PrefixRecord, sitePackages: string): List<OwnedFile> {
  const files = new Set(record.files)
  const paths = record.paths ?? (record.source === '' ? null : readPackagePaths(record.source)) ?? []
  const owned = new Map<string, PathRecord | null>()
  for (const recorded of paths) owned.set(ownPath(record, files, recorded.path, sitePackages), recorded)
  for (const path of files) if (!owned.has(path)) owned.set(path, null)
  owned.delete('.nonadmin')
  return inColumns(owned)
}

/** Where a recorded path was installed: `files` has the real paths, whoever wrote the record. */
export function ownPath(
  record: Pick<PrefixRecord, 'noarch'>,
  files: ReadonlySet<string>,
  path: string,
  sitePackages: string,
): string {
  return record.noarch !== 'python' || files.has(path) ? path : installedPath(path, sitePackages)
}

/** Bytes of a hash. */
const digest = 32
const modes: Readonly<Record<number, Known['mode']>> = { 1: 'text', 2: 'binary' }
const numberOf = { text: 1, binary: 2 } as const
/** Numbers a path: where it ends in the text; type and placeholder, as numbers of words; mode; which two hashes, from 1 on. */
const width = 6

function inColumns(owned: ReadonlyMap<string, PathRecord | null>): List<OwnedFile> {
  const numbers = new Uint32Array(width * owned.size)
  const sizes = new Float64Array(owned.size)
  const words = new Map([['', 0]])
  const wordOf = (word: string): number => {
    const known = words.get(word)
    if (known === undefined) words.set(word, words.size)
    return known ?? words.size - 1
  }
  const hashes: string[] = []
  const hashOf = (hash: string | undefined): number => (hash === undefined ? 0 : hashes.push(hash))
  let end = 0
  let item = 0
  for (const [path, recorded] of owned) {
    end += path.length
    const at = width * item
    numbers[at] = end
    sizes[item++] = recorded?.size ?? -1
    if (recorded === null) continue
    const { type, placeholder = '', mode, sha256, sha256InPrefix } = recorded
    const hash = hashOf(sha256)
    const same = sha256InPrefix === sha256
    numbers.set([wordOf(`/${type}`), wordOf(placeholder), mode === undefined ? 0 : numberOf[mode]], at + 1)
    numbers.set([hash, same ? hash : hashOf(sha256InPrefix)], at + 4)
  }
  return listOf([...owned.keys()].join(''), numbers, sizes, [...words.keys()], Buffer.from(hashes.join(''), 'hex'))
}

function listOf(
  texts: string,
  numbers: Uint32Array,
  sizes: Float64Array,
  words: readonly string[],
  hashes: Buffer,
): List<OwnedFile> {
  const hash = (number: number): string => hashes.toString('hex', digest * (number - 1), digest * number)
  return lazyList(sizes.length, (i) => {
    const at = width * i
    const number = (k: number): number => numbers[at + k] as number
    const path = texts.slice(i === 0 ? 0 : number(-width), number(0))
    const type = words[number(1)] ?? ''
    // A type is marked, so that there is none without one.
    if (type === '') return { path, recorded: null }
    const recorded: Writable<Known> = { type: type.slice(1) }
    if (number(4) > 0) recorded.sha256 = hash(number(4))
    if (number(5) > 0) recorded.sha256InPrefix = number(5) === number(4) ? (recorded.sha256 as string) : hash(number(5))
    const [placeholder, mode, size] = [words[number(2)], modes[number(3)], sizes[i] as number]
    if (placeholder !== undefined && placeholder !== '') recorded.placeholder = placeholder
    if (mode !== undefined) recorded.mode = mode
    if (size >= 0) recorded.size = size
    return { path, recorded }
  })
}

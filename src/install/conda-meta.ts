import { join } from 'node:path'
import type { PrefixRecord } from '../conda/record.js'
import { textIfThere } from '../tree/if-there.js'
import { replaceFile } from '../tree/replace-file.js'
import type { Placed } from './bring.js'
import type { LinkPlan, Wanted } from './link.js'
import { distOf, repodataRecord } from './packages.js'
import type { RepoRecord } from './repodata.js'

/** conda's LinkType. */
const hardlink = 1
const copied = 3

/** Of the text of a record, what names files: all but those into which a prefix is written, whose hash is known when they are. */
export interface Draft {
  readonly files: string
  readonly paths: readonly (string | Placed)[]
}

const drafts = new WeakMap<readonly Placed[], Draft>()

/** Most of the work on a record; may be done before it is known what else will be in it. */
export function draftOf(placed: readonly Placed[]): Draft {
  const before = drafts.get(placed)
  if (before !== undefined) return before
  const paths: (string | Placed)[] = []
  let group: object[] = []
  const flush = (): void => {
    if (group.length > 0) paths.push(textOf(group))
    group = []
  }
  for (const one of placed)
    if (one.recorded?.placeholder === undefined) group.push(pathData(one, null))
    else {
      flush()
      paths.push(one)
    }
  flush()
  const { length } = '{\n  "files": '
  const draft = { files: JSON.stringify({ files: placed.map(({ path }) => path) }, null, 2).slice(length, -2), paths }
  drafts.set(placed, draft)
  return draft
}

/** Items of `paths_data`, as they stand in a record. */
const textOf = (paths: readonly object[]): string =>
  JSON.stringify({ paths_data: { paths } }, null, 2).slice(beforePaths.length, -afterPaths.length)
const beforePaths = '{\n  "paths_data": {\n    "paths": [\n'
const afterPaths = '\n    ]\n  }\n}'

/**
 * `conda-meta/*.json` of an installed package, as conda writes it. `number`: that of the package in the plan; `hashes`: of files into which
 * a prefix was written, by their paths.
 */
export function prefixRecord(
  one: Wanted,
  number: number,
  plan: Pick<LinkPlan, 'placed'>,
  hashes: ReadonlyMap<string, string>,
  copy: boolean,
): { readonly name: string; readonly text: string } {
  const { files, paths } = draftOf(plan.placed[number] ?? [])
  const { name, document } = documentOf(one, copy, '', '')
  const items = paths.map((part) => (typeof part === 'string' ? part : textOf([pathData(part, hashes)])))
  const all = items.length === 0 ? '[]' : `[\n${items.join(',\n')}\n    ]`
  // Nothing else begins a line like that: others are further in, and a text holds no line end.
  const text = JSON.stringify(document, null, 2)
    .replace('\n  "files": ""', () => `\n  "files": ${files}`)
    .replace('\n  "paths_data": ""', () => `\n  "paths_data": {\n    "paths": ${all},\n    "paths_version": 1\n  }`)
  return { name, text }
}

/** The same as a document, of an environment that is not written: no prefix is either. */
export function recordDocument(one: Wanted, number: number, plan: Pick<LinkPlan, 'placed'>): RecordDocument {
  const placed = plan.placed[number] ?? []
  const paths = { paths: placed.map((file) => pathData(file, null)), paths_version: 1 }
  return documentOf(
    one,
    false,
    placed.map(({ path }) => path),
    paths,
  )
}

export interface RecordDocument {
  readonly name: string
  readonly document: Readonly<Record<string, unknown>>
}

function documentOf(
  { record, unpacked, archive, spec }: Wanted,
  copy: boolean,
  files: unknown,
  paths: unknown,
): RecordDocument {
  const document = {
    ...unpacked.index,
    ...repodataRecord(record),
    // An explicit list knows nothing but the address: the package itself knows the rest.
    depends: record.depends.length > 0 ? record.depends : (unpacked.index['depends'] ?? []),
    constrains: record.constrains.length > 0 ? record.constrains : (unpacked.index['constrains'] ?? []),
    extracted_package_dir: unpacked.folder,
    package_tarball_full_path: archive,
    files,
    link: { source: unpacked.folder, type: copy ? copied : hardlink },
    paths_data: paths,
    requested_spec: spec ?? 'None',
  }
  const name = `${distOf(record.fn)}.json`
  return { name, document: Object.fromEntries(Object.entries(document).sort(byKey).map(inOrder)) }
}

/** A record that stays, of a package that is asked for by another spec now. */
export const requestedAnew = ({ raw }: PrefixRecord, spec: string): string =>
  JSON.stringify(sorted({ ...raw, requested_spec: spec }), null, 2)

type Member = [key: string, value: unknown]
const byKey = ([a]: Member, [b]: Member): number => (a < b ? -1 : 1)

/** Keys in conda's order; those of `paths_data` stand in it, and are many. */
const inOrder = ([key, value]: Member): Member => [key, key === 'paths_data' ? value : sorted(value)]

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .sort(byKey)
      .map(([key, own]) => [key, sorted(own)]),
  )
}

function pathData({ path, type, recorded }: Placed, hashes: ReadonlyMap<string, string> | null): object {
  if (recorded === null) return { _path: path, path_type: type }
  const { sha256, placeholder, mode, size, noLink } = recorded
  const written = placeholder === undefined ? undefined : hashes?.get(path)
  // Absent ones are not written; the order is conda's.
  return {
    _path: path,
    file_mode: placeholder === undefined ? undefined : (mode ?? 'text'),
    no_link: noLink,
    path_type: recorded.type,
    prefix_placeholder: placeholder,
    sha256,
    sha256_in_prefix: sha256 === undefined ? undefined : (written ?? sha256),
    size_in_bytes: size,
  }
}

/** A package as the history names it. */
export const noteOf = ({ channel, subdir, fn }: RepoRecord): string => `${channel}/${subdir}::${distOf(fn)}`

/** Notes an environment in the list that conda keeps in the home folder. */
export async function noteEnvironment(prefix: string, home: string): Promise<void> {
  const file = join(home, '.conda', 'environments.txt')
  const text = (await textIfThere(file)) ?? ''
  if (text.split('\n').includes(prefix)) return
  await replaceFile(file, `${text}${text === '' || text.endsWith('\n') ? '' : '\n'}${prefix}\n`)
}

/** Takes an environment from that list, in which it need not be. */
export async function forgetEnvironment(prefix: string, home: string): Promise<void> {
  const file = join(home, '.conda', 'environments.txt')
  const text = await textIfThere(file)
  if (text === null) return
  const lines = text.split('\n')
  const left = lines.filter((line) => line.trim() !== prefix)
  if (left.length < lines.length) await replaceFile(file, left.join('\n'))
}

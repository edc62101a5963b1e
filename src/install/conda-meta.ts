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

/** `conda-meta/*.json` of an installed package, as conda writes it. `number`: that of the package in the plan. */
export function prefixRecord(...of: Parameters<typeof recordDocument>): {
  readonly name: string
  readonly text: string
} {
  const { name, document } = recordDocument(...of)
  return { name, text: JSON.stringify(document, null, 2) }
}

/** The same, not written yet. */
export function recordDocument(
  { record, unpacked, archive, spec }: Wanted,
  number: number,
  plan: LinkPlan,
  hashes: ReadonlyMap<string, string>,
  copy: boolean,
): { readonly name: string; readonly document: Readonly<Record<string, unknown>> } {
  const placed = plan.placed[number] ?? []
  const document = {
    ...unpacked.index,
    ...repodataRecord(record),
    // An explicit list knows nothing but the address: the package itself knows the rest.
    depends: record.depends.length > 0 ? record.depends : (unpacked.index['depends'] ?? []),
    constrains: record.constrains.length > 0 ? record.constrains : (unpacked.index['constrains'] ?? []),
    extracted_package_dir: unpacked.folder,
    package_tarball_full_path: archive,
    files: placed.map(({ path }) => path),
    link: { source: unpacked.folder, type: copy ? copied : hardlink },
    paths_data: { paths: placed.map((file) => pathData(file, hashes)), paths_version: 1 },
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

function pathData({ path, type, recorded }: Placed, hashes: ReadonlyMap<string, string>): object {
  if (recorded === null) return { _path: path, path_type: type }
  const { sha256, placeholder, mode, size, noLink } = recorded
  const written = placeholder === undefined ? undefined : hashes.get(path)
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

/** conda-meta for an environment that will stand elsewhere: records and the history, true after deployment. Pure. */
import { EnvError } from '../errors.js'
import { native } from '../native.js'
import { ownPath } from './owned.js'
import type { PathRecord } from './paths.js'
import type { PrefixRecord } from './record.js'

/** A known hash, or the entry whose hash is known only after deploying. */
export type Hash = { readonly sha256: string } | { readonly of: string }

export interface Contents {
  /** Whether an installed path, reached over links to directories too, will be there. */
  has(path: string): boolean
  /** Of the file at the end of `path`, links followed; null: none, or not known. */
  hash(path: string): Hash | null
  /** Whether a file with this hash stands at the end of `path`, and did before; true only of what is so for sure, and fast to tell. */
  isStill?(path: string, sha256: string): boolean
  /** The link that stands at `path`: its text now, and in the source; null: no link. */
  link(path: string): { readonly text: string; readonly was: string } | null
}

/** A text whose hashes are filled in by deploying. */
export interface RecordText {
  readonly text: string
  /** Where 64 digits stand, in bytes, and the path of the entry whose hash belongs there. */
  readonly digests: readonly { readonly offset: number; readonly path: string }[]
}

const sha256 = (text: string): string => native().sha256(Buffer.from(text))

/** What stands for a hash until the archive is deployed. */
const unknown = '0'.repeat(64)

/** Fields that name places of the source machine; conda does without them. */
const places = ['extracted_package_dir', 'package_tarball_full_path']

/**
 * A record for the deployed environment: what is not in the archive is gone from `files` and `paths_data`, every
 * `sha256_in_prefix` is that of the deployed file, and no path of the source machine is left. `sitePackages`: see `Environment`.
 */
export function recordText(record: PrefixRecord, contents: Contents, sitePackages: string): RecordText {
  const listed = new Set(record.files)
  const waiting: string[] = []
  const paths: unknown[] = []
  const addPath = (item: unknown): void => {
    const raw = item as RawPath | null
    if (typeof raw?._path !== 'string') return
    const own = ownPath(record, listed, raw._path, sitePackages)
    if (!contents.has(own)) return
    const old = raw.sha256_in_prefix
    const hash = hashInPrefix(contents, own, raw.sha256, old)
    if (hash !== null && 'of' in hash) waiting.push(hash.of)
    const now = hash === null ? undefined : 'of' in hash ? unknown : hash.sha256
    // Most stay as they are, and are not copied. What is undefined is not printed.
    paths.push(now === old ? raw : { ...raw, sha256_in_prefix: now })
  }
  const made: Record<string, unknown> = { ...record.raw }
  for (const key of places) if (key in made) made[key] = ''
  for (const [key, value] of Object.entries(made)) if (typeof value === 'string') made[key] = withoutLocalUrls(value)
  if (Array.isArray(made['requested_specs'])) made['requested_specs'] = made['requested_specs'].map(localUrlsIn)
  if (isObject(made['link'])) made['link'] = { ...made['link'], source: '' }
  if (Array.isArray(made['files'])) made['files'] = record.files.filter((file) => contents.has(file))
  const data = made['paths_data']
  if (isObject(data) && Array.isArray(data['paths'])) {
    data['paths'].forEach(addPath)
    made['paths_data'] = { ...data, paths }
  }
  const text = ascii(`${written(record.file, made)}\n`)
  return { text, digests: places64(record, text, waiting) }
}

/**
 * Whether nothing in the document of `record` names a place of the source machine, and it says what its parsed paths say. Then it
 * can stay as it is, unless `isTrue` says that its files changed.
 */
export function isPortable({ raw, paths }: PrefixRecord, text: string): boolean {
  const link = raw['link']
  if (text.includes('file://') || places.some((key) => key in raw && raw[key] !== '')) return false
  if (isObject(link) && 'source' in link && link['source'] !== '') return false
  const data = raw['paths_data']
  const items = isObject(data) && Array.isArray(data['paths']) ? (data['paths'] as readonly (RawPath | null)[]) : []
  // By index: there are tens of thousands.
  for (let i = 0; i < items.length; i++) {
    const item = items[i]
    const path = paths?.[i]
    if (item?.sha256 !== path?.sha256 || item?.sha256_in_prefix !== path?.sha256InPrefix) return false
  }
  return true
}

/** A hash that a record names for an installed file, and the one it should. */
export interface NewHash {
  readonly old: string
  readonly now: Hash
}

/**
 * What `recordText` would change in a portable record, where that is nothing but hashes; null: more than that. `owned`: where the path of
 * that number was installed. `stands`: a file with this hash stands there; true only of what is so for sure, and asked first because it is
 * so of nearly all. Without a hash: something stands there.
 */
export function newHashes(
  record: Recorded,
  owned: (i: number) => string,
  contents: Contents,
  stands: (i: number, sha256: string | undefined) => boolean,
): NewHash[] | null {
  const changed: NewHash[] = []
  const paths = record.paths ?? []
  for (let i = 0; i < paths.length; i++) {
    const { sha256, sha256InPrefix: old } = paths[i] as PathRecord
    // Nobody hashes compiled Python and entry points.
    if (stands(i, old) && (old !== undefined || sha256 === undefined)) continue
    const own = owned(i)
    if (!contents.has(own)) return null
    const now = hashInPrefix(contents, own, sha256, old)
    if (now !== null && 'sha256' in now && now.sha256 === old) continue
    if (now === null && old === undefined) continue
    if (now === null || old === undefined) return null
    changed.push({ old, now })
  }
  return unrecorded(record, owned).every((file) => contents.has(file)) ? changed : null
}

/** Where the recorded paths were installed, in their order. */
export function ownPaths(record: Recorded, sitePackages: string): string[] {
  const { noarch, files, paths } = record
  if (noarch !== 'python') return (paths ?? []).map(({ path }) => path)
  let listed: Set<string> | undefined
  return (paths ?? []).map(({ path }, i) => {
    if (files[i] === path) return path
    listed ??= new Set(files)
    return ownPath(record, listed, path, sitePackages)
  })
}

/** The files of a record that are not among those whose paths it records. `owned`: as that of `newHashes`. */
export function unrecorded({ files, paths }: Recorded, owned: (i: number) => string): readonly string[] {
  const count = paths?.length ?? 0
  // Nearly all records name both in one order.
  let same = 0
  while (same < files.length && same < count && files[same] === owned(same)) same++
  if (same === files.length) return []
  const known = new Set(Array.from({ length: count }, (_, i) => owned(i)))
  return [...new Set(files)].filter((file) => !known.has(file))
}

/** A document of `recordText`, of a record that stays as it was written but for some hashes. */
export interface PatchedRecord {
  readonly data: Buffer
  readonly digests: RecordText['digests']
}

/**
 * The document with other hashes, and nothing else changed: a sixth of the time of parsing and writing it. Null: what to replace cannot be
 * told for sure from how the document is written.
 */
export function withHashes(document: Buffer, hashes: readonly NewHash[]): PatchedRecord | null {
  const data = Buffer.from(document)
  const waiting = new Map<string, Hash[]>()
  for (const { old, now } of hashes) {
    const list = waiting.get(old)
    if (list === undefined) waiting.set(old, [now])
    else list.push(now)
  }
  let left = hashes.length
  const digests: { offset: number; path: string }[] = []
  // A character a byte. No other text holds this key unescaped.
  for (const found of document.toString('latin1').matchAll(/"sha256_in_prefix": ?"([0-9a-f]{64})"/g)) {
    const list = waiting.get(found[1] as string)
    if (list === undefined) continue
    const now = list.shift()
    if (now === undefined) return null
    left--
    const offset = found.index + found[0].length - 65
    data.write('of' in now ? unknown : now.sha256, offset, 'latin1')
    if ('of' in now) digests.push({ offset, path: now.of })
  }
  return left === 0 ? { data, digests } : null
}

export type Recorded = Pick<PrefixRecord, 'noarch' | 'files' | 'paths'>

/** JSON.parse takes any depth, JSON.stringify only what fits the stack. */
function written(file: string, document: object): string {
  try {
    return JSON.stringify(document, null, 2)
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    throw new EnvError('ENV_DAMAGED', `${file} cannot be written: ${error.message}`, { path: file, cause: error })
  }
}

interface RawPath {
  readonly _path?: unknown
  readonly sha256?: unknown
  readonly sha256_in_prefix?: unknown
}

function hashInPrefix(
  contents: Contents,
  path: string,
  inPackage: unknown,
  old: unknown,
): ReturnType<Contents['hash']> {
  if (old === undefined && typeof inPackage !== 'string') return null
  if (typeof old === 'string' && contents.isStill?.(path, old)) return { sha256: old }
  const link = contents.link(path)
  const hash = contents.hash(path)
  // As nearly all links are: what they lead to is hashed, and has not changed.
  if (link && link.text === link.was && hash !== null && 'sha256' in hash && hash.sha256 === old) return hash
  // rattler hashes the text of a link; conda and mamba hash what it leads to.
  if (link && (old ?? inPackage) === sha256(link.was))
    return old === undefined && link.text === link.was ? null : { sha256: sha256(link.text) }
  const kept = typeof old === 'string' ? { sha256: old } : null
  if (link && hash === null) return kept
  if (old !== undefined || hash === null) return hash
  // rattler leaves it out where it is that of the package.
  return 'of' in hash || hash.sha256 !== inPackage ? hash : null
}

/** Every waiting hash has its place: no other text holds this key unescaped. */
function places64(record: PrefixRecord, text: string, waiting: readonly string[]): RecordText['digests'] {
  const key = `"sha256_in_prefix": "`
  const digests: { offset: number; path: string }[] = []
  for (const found of text.matchAll(new RegExp(`${key}${unknown}"`, 'g'))) {
    const path = waiting[digests.length]
    if (path !== undefined) digests.push({ offset: found.index + key.length, path })
    else throw new EnvError('ENV_DAMAGED', `${record.file}: a hash outside of paths_data`, { path: record.file })
  }
  return digests
}

/** The history, with the programs that were called reduced to their names: where conda was installed is of no use elsewhere. */
export function historyText(text: string): string {
  return text
    .split('\n')
    .map((line) => {
      if (line.startsWith('# cmd: ')) return line.replace(/^# cmd: \S*\/(?=[^\s/])/, '# cmd: ')
      return /^[+-]/.test(line) ? withoutLocalUrls(line) : line
    })
    .join('\n')
}

/** URLs of local channels keep the channel's name, platform and file: enough to tell packages apart, and nothing of the machine. */
function withoutLocalUrls(text: string): string {
  return text.replace(/file:\/\/[^\s"'[\]]*/g, (url) => {
    const [path = '', ...more] = url.slice('file://'.length).split('::')
    const parts = path.split('/').filter((part) => part !== '')
    const platform = parts.findLastIndex(
      (part) => part === 'noarch' || /^(linux|osx|win|emscripten|wasi|freebsd|zos)-[a-z0-9]+$/.test(part),
    )
    const from = platform < 0 ? parts.length - 1 : platform - 1
    return [`file:///${parts.slice(Math.max(0, from)).join('/')}`, ...more].join('::')
  })
}

const localUrlsIn = (value: unknown): unknown => (typeof value === 'string' ? withoutLocalUrls(value) : value)

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** As Python writes JSON; so an offset in characters is one in bytes. */
const ascii = (json: string): string =>
  json.replace(/[\u007f-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)

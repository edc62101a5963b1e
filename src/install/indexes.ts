/**
 * The indexes of channels, on this machine: those of folders are read where they stand, those of servers are kept in a cache and asked
 * about by ETag. The cache is a folder of plain JSON with a note beside each; whoever finds one half-written never sees it.
 */
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { type Channel, folderOf } from '../conda/channel.js'
import { EnvError, fromSystem } from '../errors.js'
import { replaceFile } from '../tree/replace-file.js'
import { type Answer, get, type HttpOptions } from './http.js'
import type { Index } from './solve.js'

export interface IndexOptions {
  /** Default: `conda-deploy/repodata` in the user's cache directory. */
  readonly cache?: string | undefined
  /** Nothing is asked of a server; what is not cached is DOWNLOAD_FAILED. */
  readonly offline?: boolean | undefined
  /** Seconds for which a cached index is taken without asking; default 30. */
  readonly freshFor?: number | undefined
  readonly http?: HttpOptions | undefined
}

interface Note {
  readonly url: string
  readonly etag: string | null
  readonly modified: string | null
  /** Milliseconds since 1970 at which the server was last asked. */
  readonly asked: number
  /** SHA-256 of the index the note is about. */
  readonly sha256: string
}

/** The indexes of `subdirs` of all `channels`, in the order of the channels. Throws CHANNEL_NOT_FOUND, DOWNLOAD_FAILED, CHANNEL_DAMAGED, IO. */
export async function indexesOf(
  channels: readonly Channel[],
  subdirs: readonly string[],
  options: IndexOptions = {},
): Promise<Index[]> {
  const found = await Promise.all(
    channels.map(async (channel) => {
      const files = await Promise.all(subdirs.map((subdir) => indexOf(channel, subdir, options)))
      if (files.every((file) => file === null)) throw notFound(channel, subdirs)
      return subdirs.flatMap((subdir, i) => {
        const file = files[i] ?? null
        return file === null ? [] : [{ base: channel.base, name: channel.name, subdir, file }]
      })
    }),
  )
  return found.flat()
}

const notFound = ({ name, base }: Channel, subdirs: readonly string[]): EnvError =>
  new EnvError(
    'CHANNEL_NOT_FOUND',
    `channel ${name}: no repodata.json in ${subdirs.map((subdir) => `${base}/${subdir}`).join(' or ')}`,
    { path: base },
  )

/** `conda-deploy/repodata` in the user's cache directory. */
export const indexCache = (): string =>
  join(process.env['XDG_CACHE_HOME'] || join(process.env['HOME'] || homedir(), '.cache'), 'conda-deploy', 'repodata')

interface Cached {
  readonly file: string
  readonly note: string
}

/** Null: the channel has no such folder. */
async function indexOf(channel: Channel, subdir: string, options: IndexOptions): Promise<string | null> {
  const folder = folderOf(channel.base)
  const cached = (): Cached => {
    const cache = options.cache ?? indexCache()
    const key = createHash('sha256').update(`${channel.base}/${subdir}`).digest('hex').slice(0, 16)
    return { file: join(cache, `${key}.json`), note: join(cache, `${key}.note`) }
  }
  if (folder === null) return fromServer(channel, subdir, cached(), options)
  const plain = join(folder, subdir, 'repodata.json')
  if (existsSync(plain)) return plain
  const packed = `${plain}.zst`
  if (!existsSync(packed)) return null
  const bytes = await readFile(packed).catch((error: unknown) => {
    throw fromSystem(error, 'cannot read', packed)
  })
  const kept = cached()
  await keep(kept, await unpacked(bytes, packed), { url: packed, etag: null, modified: null })
  return kept.file
}

async function fromServer(
  { base, secret }: Channel,
  subdir: string,
  cached: Cached,
  { offline = false, freshFor = 30, http = {} }: IndexOptions,
): Promise<string | null> {
  const note = await readNote(cached)
  const age = Date.now() - (note?.asked ?? 0)
  // Below 0 the clock was wrong, then or now.
  if (note !== null && (offline || (age >= 0 && age < freshFor * 1000))) return cached.file
  if (offline) {
    const hint = 'run once without --offline, or use a channel on disk'
    throw new EnvError(
      'DOWNLOAD_FAILED',
      `${base}/${subdir}/repodata.json is not cached, and nothing may be downloaded`,
      { hint },
    )
  }
  const headers = {
    ...(note?.etag == null ? {} : { 'if-none-match': note.etag }),
    ...(note?.modified == null ? {} : { 'if-modified-since': note.modified }),
  }
  // Whichever it was the last time is asked about first: a note is about one of them.
  const urls = ['.zst', ''].map((end) => `${base}/${subdir}/repodata.json${end}`)
  for (const url of urls) {
    const answer = await get(url, { ...http, secret, ...(note?.url === url ? { headers } : {}) })
    if (answer.statusCode === 404) {
      await answer.body.dump()
      continue
    }
    const [etag, modified] = [header(answer, 'etag'), header(answer, 'last-modified')]
    if (answer.statusCode === 304 && note !== null) {
      await answer.body.dump()
      await writeNote(cached.note, { ...note, asked: Date.now() })
      return cached.file
    }
    const bytes = await buffer(answer.body)
    await keep(cached, url.endsWith('.zst') ? await unpacked(bytes, url) : bytes, { url, etag, modified })
    return cached.file
  }
  return null
}

const header = ({ headers }: Answer, name: string): string | null => {
  const value = headers[name]
  return typeof value === 'string' ? value : null
}

/** The note of an index that is there and as it was. */
async function readNote({ file, note }: { readonly file: string; readonly note: string }): Promise<Note | null> {
  try {
    const known = JSON.parse(await readFile(note, 'utf8')) as Note | null
    const sha256 = createHash('sha256')
      .update(await readFile(file))
      .digest('hex')
    return sha256 === known?.sha256 ? known : null
  } catch (error) {
    if (error instanceof SyntaxError || (error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw fromSystem(error, 'cannot read', note)
  }
}

async function keep(
  { file, note }: { readonly file: string; readonly note: string },
  bytes: Buffer,
  from: Pick<Note, 'url' | 'etag' | 'modified'>,
): Promise<void> {
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  try {
    await replaceFile(file, bytes)
    await writeNote(note, { ...from, asked: Date.now(), sha256 })
  } catch (error) {
    if (!(error instanceof EnvError)) throw error
    const { code, message, path = file } = error
    throw new EnvError(code, message, {
      path,
      cause: error,
      hint: 'name another folder for caches with XDG_CACHE_HOME',
    })
  }
}

const writeNote = (file: string, note: Note): Promise<void> => replaceFile(file, JSON.stringify(note))

async function unpacked(bytes: Buffer, where: string): Promise<Buffer> {
  const { decompress } = await import('zstd-napi')
  try {
    return decompress(bytes)
  } catch (error) {
    throw new EnvError('CHANNEL_DAMAGED', `${where}: ${(error as Error).message}`, { path: where, cause: error })
  }
}

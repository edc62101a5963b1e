import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { describe, expect, test } from 'vitest'
import { compress } from 'zstd-napi'
import type { Channel } from '../../src/conda/channel.js'
import { type IndexOptions, indexesOf } from '../../src/install/indexes.js'
import { temporaryFolder } from '../support/temp.js'
import { serve } from './server.js'

const folder = temporaryFolder('indexes')
const document = (name: string): string =>
  JSON.stringify({ info: { subdir: 'noarch' }, packages: { [`${name}-1-0.tar.bz2`]: { name, version: '1' } } })
const channel = (base: string, secret: Channel['secret'] = null): Channel => ({ name: 'lab', base, secret })

let made = 0
const fresh = (name: string): string => {
  const path = join(folder, `${name}-${made++}`)
  mkdirSync(path, { recursive: true })
  return path
}

/** What is read of the channel's noarch. */
async function read(base: string, options: IndexOptions, secret: Channel['secret'] = null): Promise<string> {
  const [index] = await indexesOf([channel(base, secret)], ['noarch'], { http: { pause: 1 }, ...options })
  return Object.keys((JSON.parse(readFileSync(index?.file ?? '', 'utf8')) as { packages: object }).packages).join()
}

interface State {
  content: string
  etag?: string
  modified?: string
  zst?: boolean
}

/** A server of one index that answers conditional requests as servers do. */
const answering =
  (state: State) =>
  ({ url, headers }: IncomingMessage, response: ServerResponse): boolean => {
    const zst = url?.endsWith('.zst') === true
    const known =
      state.etag === undefined
        ? headers['if-modified-since'] === state.modified
        : headers['if-none-match'] === state.etag
    if (zst !== (state.zst === true)) response.writeHead(404).end()
    else if (known && (state.etag ?? state.modified) !== undefined) response.writeHead(304).end()
    else {
      const validators = {
        ...(state.etag ? { etag: state.etag } : {}),
        ...(state.modified ? { 'last-modified': state.modified } : {}),
      }
      response.writeHead(200, validators).end(zst ? compress(Buffer.from(state.content)) : state.content)
    }
    return true
  }

describe('the index of a server', () => {
  test.each<[string, Partial<State>]>([
    ['by its ETag', { etag: '"one"', zst: true }],
    ['by the time of its last change', { modified: 'Wed, 21 Oct 2015 07:28:00 GMT' }],
  ])('is kept, and asked about %s', async (_, validators) => {
    const state: State = { content: document('a'), ...validators }
    const server = await serve(folder, answering(state))
    const cache = fresh('cache')
    expect(await read(server.url, { cache, freshFor: 0 })).toBe('a-1-0.tar.bz2')
    const asked = server.seen.length
    expect(await read(server.url, { cache, freshFor: 0 })).toBe('a-1-0.tar.bz2')
    const conditional = server.seen
      .slice(asked)
      .find(({ headers }) => headers['if-none-match'] ?? headers['if-modified-since'])
    expect(conditional?.path).toBe(`/noarch/repodata.json${state.zst ? '.zst' : ''}`)
    state.content = document('b')
    if (state.etag) state.etag = '"two"'
    else state.modified = 'Thu, 22 Oct 2015 07:28:00 GMT'
    expect(await read(server.url, { cache, freshFor: 0 })).toBe('b-1-0.tar.bz2')
  })

  test('is asked about again when its note is from the future, or says nothing', async () => {
    const state: State = { content: document('a') }
    const server = await serve(folder, answering(state))
    const cache = fresh('cache')
    await read(server.url, { cache, freshFor: 60 })
    const note = join(cache, readdirSync(cache).find((name) => name.endsWith('.note')) ?? '')
    const known = JSON.parse(readFileSync(note, 'utf8')) as { asked: number }
    state.content = document('b')
    writeFileSync(note, JSON.stringify({ ...known, asked: Date.now() + 3_600_000 }))
    expect(await read(server.url, { cache, freshFor: 60 })).toBe('b-1-0.tar.bz2')
    state.content = document('c')
    writeFileSync(note, 'null')
    expect(await read(server.url, { cache, freshFor: 60 })).toBe('c-1-0.tar.bz2')
  })

  test('is taken without asking while it is fresh, and without a network at any age', async () => {
    const server = await serve(folder, answering({ content: document('a') }))
    const cache = fresh('cache')
    await read(server.url, { cache })
    const asked = server.seen.length
    await read(server.url, { cache })
    expect(await read(server.url, { cache, freshFor: 0, offline: true })).toBe('a-1-0.tar.bz2')
    expect(server.seen).toHaveLength(asked)
    await expect(read(server.url, { cache: fresh('cache'), offline: true })).rejects.toMatchObject({
      ...{ code: 'DOWNLOAD_FAILED', hint: expect.stringContaining('--offline') },
    })
  })

  test('that was damaged in the cache is brought again', async () => {
    const server = await serve(folder, answering({ content: document('a'), etag: '"one"' }))
    const cache = fresh('cache')
    await read(server.url, { cache })
    const [file = ''] = readdirSync(cache).filter((name) => name.endsWith('.json'))
    writeFileSync(join(cache, file), 'damaged')
    expect(await read(server.url, { cache })).toBe('a-1-0.tar.bz2')
    for (const name of readdirSync(cache).filter((one) => one.endsWith('.note'))) writeFileSync(join(cache, name), '{')
    expect(await read(server.url, { cache })).toBe('a-1-0.tar.bz2')
  })

  test('that is no zstd is told with its address', async () => {
    const server = await serve(folder, (_, response) => {
      response.writeHead(200).end('no zstd')
      return true
    })
    await expect(read(server.url, { cache: fresh('cache') })).rejects.toMatchObject({
      ...{ code: 'CHANNEL_DAMAGED', message: expect.stringContaining(`${server.url}/noarch/repodata.json.zst`) },
    })
  })

  test('has neither credentials in its address, nor in the names and notes of the cache', async () => {
    const seen: (string | undefined)[] = []
    const server = await serve(folder, ({ url, headers }, response) => {
      seen.push(headers.authorization ?? url)
      response.writeHead(200).end(compress(Buffer.from(document('a'))))
      return true
    })
    const cache = fresh('cache')
    await read(server.url, { cache }, { kind: 'token', token: 'tk-hidden' })
    await read(`${server.url}/b`, { cache }, { kind: 'basic', user: 'ann', password: 'hidden' })
    expect(seen).toEqual([
      '/t/tk-hidden/noarch/repodata.json.zst',
      `Basic ${Buffer.from('ann:hidden').toString('base64')}`,
    ])
    for (const name of readdirSync(cache)) {
      expect(name).toMatch(/^[0-9a-f]{16}\.(json|note)$/)
      expect(readFileSync(join(cache, name), 'utf8')).not.toContain('hidden')
    }
  })

  test('is not there: the channel is, if its other folder is', async () => {
    const server = await serve(folder, ({ url }, response) => {
      const has = url === '/noarch/repodata.json'
      response.writeHead(has ? 200 : 404).end(has ? document('a') : '')
      return true
    })
    const found = await indexesOf([channel(server.url)], ['linux-64', 'noarch'], { cache: fresh('cache') })
    expect(found.map(({ subdir }) => subdir)).toEqual(['noarch'])
    const failure = indexesOf([channel(`${server.url}/none`)], ['linux-64', 'noarch'], { cache: fresh('cache') })
    await expect(failure).rejects.toMatchObject({
      code: 'CHANNEL_NOT_FOUND',
      message: expect.stringContaining('/none/linux-64'),
    })
  })
})

describe('the index of a folder', () => {
  test('is read in place, or unpacked into the cache', async () => {
    const base = fresh('channel')
    const cache = fresh('cache')
    mkdirSync(join(base, 'noarch'))
    writeFileSync(join(base, 'noarch/repodata.json.zst'), compress(Buffer.from(document('packed'))))
    const url = pathToFileURL(base).href
    expect(await read(url, { cache })).toBe('packed-1-0.tar.bz2')
    writeFileSync(join(base, 'noarch/repodata.json'), document('plain'))
    expect(await read(url, { cache })).toBe('plain-1-0.tar.bz2')
    await expect(read(pathToFileURL(fresh('empty')).href, { cache })).rejects.toMatchObject({
      code: 'CHANNEL_NOT_FOUND',
    })
  })

  test.skipIf(process.getuid?.() === 0)(
    'that cannot be read is told, and so is a cache (skipped as root)',
    async () => {
      const base = fresh('channel')
      const cache = fresh('cache')
      mkdirSync(join(base, 'noarch'))
      writeFileSync(join(base, 'noarch/repodata.json.zst'), compress(Buffer.from(document('packed'))))
      chmodSync(cache, 0o500)
      await expect(read(pathToFileURL(base).href, { cache })).rejects.toMatchObject({ code: 'PERMISSION' })
      chmodSync(join(base, 'noarch/repodata.json.zst'), 0)
      await expect(read(pathToFileURL(base).href, { cache })).rejects.toMatchObject({ code: 'PERMISSION' })
    },
  )

  test('a cache that is a file is told', async () => {
    const server = await serve(folder, answering({ content: document('a') }))
    const cache = join(folder, 'a-file')
    writeFileSync(cache, '')
    await expect(read(server.url, { cache })).rejects.toMatchObject({ path: expect.stringContaining(cache) })
    expect(statSync(cache).size).toBe(0)
    rmSync(cache)
  })
})

import { randomBytes } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { type FetchOptions, fetchPackages } from '../../src/install/fetch.js'
import type { RepoRecord } from '../../src/install/repodata.js'
import { temporaryFolder } from '../support/temp.js'
import { build } from './built.js'
import { type Served, sendFile, serve } from './server.js'

const folder = temporaryFolder('fetch')
const channel = join(folder, 'channel')
let record: RepoRecord
let bytes: Buffer

beforeAll(async () => {
  record = await build(channel, { name: 'big', files: [{ path: 'share/big', content: randomBytes(300_000) }] })
  bytes = readFileSync(join(channel, 'linux-64', record.fn))
})

let caches = 0
function cacheFolder(): string {
  const cache = join(folder, `pkgs-${caches++}`)
  mkdirSync(cache)
  return cache
}

const at = ({ url }: Served, one: RepoRecord = record): RepoRecord => ({
  ...one,
  channel: url,
  url: `${url}/${one.subdir}/${one.fn}`,
})
const options = (cache: string, more: Partial<FetchOptions> = {}): FetchOptions => ({
  caches: [cache],
  cache,
  http: { pause: 5 },
  ...more,
})

describe('a download', () => {
  test('is verified, noted in urls.txt, and not done twice', async () => {
    const server = await serve(channel)
    const cache = cacheFolder()
    const first = await fetchPackages([at(server)], options(cache))
    expect(first).toMatchObject({ downloaded: 1, downloadedBytes: bytes.length })
    expect(readFileSync(first.archives[0]?.file ?? '')).toEqual(bytes)
    expect(readFileSync(join(cache, 'urls.txt'), 'utf8')).toBe(`${server.url}/linux-64/${record.fn}\n`)
    const again = await fetchPackages([at(server)], options(cache, { offline: true }))
    expect(again).toMatchObject({ downloaded: 0, downloadedBytes: 0 })
    expect(server.seen).toHaveLength(1)
    expect(readdirSync(cache).sort()).toEqual([record.fn, 'urls', 'urls.txt'])
  })

  test('that is cut goes on where it ended', async () => {
    const server = await serve(channel, (_, response, number) => {
      if (number > 1) return false
      response.writeHead(200, { 'content-length': bytes.length })
      response.write(bytes.subarray(0, 100_000), () => setTimeout(() => response.destroy(), 50))
      return true
    })
    const cache = cacheFolder()
    const { downloadedBytes } = await fetchPackages([at(server)], options(cache))
    expect(server.seen[1]?.headers.range).toBe('bytes=100000-')
    expect(downloadedBytes).toBe(bytes.length)
    expect(readFileSync(join(cache, record.fn))).toEqual(bytes)
  })

  test('that an earlier run left half done goes on too; a part of something else is thrown away', async () => {
    const server = await serve(channel)
    const cache = cacheFolder()
    writeFileSync(join(cache, `${record.fn}.part`), bytes.subarray(0, 50_000))
    expect(await fetchPackages([at(server)], options(cache))).toMatchObject({ downloadedBytes: bytes.length - 50_000 })
    const other = cacheFolder()
    writeFileSync(join(other, `${record.fn}.part`), randomBytes(50_000))
    await fetchPackages([at(server)], options(other))
    expect(readFileSync(join(other, record.fn))).toEqual(bytes)
    expect(readdirSync(other)).not.toContain(`${record.fn}.part`)
  })

  test('begins again where the server knows no ranges', async () => {
    const server = await serve(channel, (_, response) => {
      response.writeHead(200, { 'content-length': bytes.length }).end(bytes)
      return true
    })
    const cache = cacheFolder()
    writeFileSync(join(cache, `${record.fn}.part`), bytes.subarray(0, 50_000))
    await fetchPackages([at(server)], options(cache))
    expect(readFileSync(join(cache, record.fn))).toEqual(bytes)
  })

  test('from a server that closes its connections comes', async () => {
    const server = await serve(channel, (_, response) => {
      response.writeHead(200, { connection: 'close' }).end(bytes)
      return true
    })
    const cache = cacheFolder()
    await fetchPackages([at(server)], options(cache))
    expect(readFileSync(join(cache, record.fn))).toEqual(bytes)
  })

  test('that comes slowly comes', async () => {
    const server = await serve(channel, (_, response) => {
      response.writeHead(200)
      let sent = 0
      const timer = setInterval(() => {
        response.write(bytes.subarray(sent, sent + 60_000))
        sent += 60_000
        if (sent < bytes.length) return
        clearInterval(timer)
        response.end()
      }, 20)
      return true
    })
    await fetchPackages([at(server)], options(cacheFolder()))
  })

  test('is tried again when the server is busy, and refused with its status in the end', async () => {
    const busy = await serve(channel, (_, response, number) => {
      if (number > 2) return false
      response.writeHead(500).end('busy')
      return true
    })
    await fetchPackages([at(busy)], options(cacheFolder()))
    expect(busy.seen).toHaveLength(3)
    const down = await serve(channel, (_, response) => {
      response.writeHead(503).end()
      return true
    })
    const cache = cacheFolder()
    const failure = fetchPackages([at(down)], options(cache))
    await expect(failure).rejects.toMatchObject({ code: 'DOWNLOAD_FAILED', message: expect.stringContaining('503') })
    expect(down.seen).toHaveLength(4)
    expect(readdirSync(cache)).toEqual([])
  })

  test('of a package that is not there says so', async () => {
    const server = await serve(channel)
    const lost = { ...record, fn: 'lost-1-0.conda' }
    await expect(fetchPackages([at(server, lost)], options(cacheFolder()))).rejects.toMatchObject({
      code: 'DOWNLOAD_FAILED',
    })
  })

  test.each([
    ['another content', randomBytes(bytes?.length ?? 1000), 'sha256'],
    ['more than it should be', Buffer.alloc(2_000_000), 'got more'],
  ])('with %s is refused, and leaves nothing', async (_, content, said) => {
    const server = await serve(channel, (__, response) => {
      response.writeHead(200).end(content.length < bytes.length ? randomBytes(bytes.length) : content)
      return true
    })
    const cache = cacheFolder()
    const failure = fetchPackages([at(server)], options(cache))
    await expect(failure).rejects.toMatchObject({ code: 'PACKAGE_DAMAGED', message: expect.stringContaining(said) })
    expect(readdirSync(cache)).toEqual([])
  })

  test('can be cancelled, and keeps what came', async () => {
    const stop = new AbortController()
    const server = await serve(channel, (_, response) => {
      response.writeHead(200, { 'content-length': bytes.length })
      response.write(bytes.subarray(0, 100_000), () => setTimeout(() => stop.abort(), 50))
      return true
    })
    const cache = cacheFolder()
    const failure = fetchPackages([at(server)], options(cache, { signal: stop.signal }))
    await expect(failure).rejects.toMatchObject({ code: 'CANCELLED' })
    expect(readdirSync(cache)).toEqual([`${record.fn}.part`])
  })

  test('of one package by two at a time is done once', async () => {
    const server = await serve(channel)
    const cache = cacheFolder()
    await Promise.all([1, 2].map(() => fetchPackages([at(server)], options(cache))))
    expect(server.seen).toHaveLength(1)
  })
})

describe('several downloads', () => {
  test('go at a time as many as are allowed, and tell how far they are', async () => {
    const records: RepoRecord[] = []
    for (let i = 0; i < 7; i++)
      records.push(
        await build(channel, { name: `many-${i}`, files: [{ path: 'share/x', content: randomBytes(2000) }] }),
      )
    let [open, most] = [0, 0]
    const server = await serve(channel, (request, response) => {
      most = Math.max(most, ++open)
      response.on('close', () => open--)
      setTimeout(() => sendFile(join(channel, request.url ?? ''), request, response), 60)
      return true
    })
    const told: number[] = []
    const phases: unknown[] = []
    const reporter = {
      phase: (...phase: unknown[]) => void phases.push(phase),
      progress: (done: number) => void told.push(done),
      warn: () => {},
    }
    const all = records.map((one) => at(server, one))
    const total = records.reduce((sum, { size }) => sum + (size ?? 0), 0)
    await fetchPackages(all, options(cacheFolder(), { parallel: 3, reporter }))
    expect(most).toBe(3)
    expect(phases).toEqual([['download', total, 'bytes']])
    expect(told.at(-1)).toBe(total)
    expect(told).toEqual([...told].sort((a, b) => a - b))
  })

  test('pause longer and longer, or as long as the server asks', async () => {
    const times: number[] = []
    const server = await serve(channel, (_, response, number) => {
      times.push(performance.now())
      if (number > 3) return false
      response.writeHead(429, number === 3 ? { 'retry-after': '0.2' } : {}).end()
      return true
    })
    await fetchPackages([at(server)], options(cacheFolder(), { http: { pause: 40 } }))
    const pauses = times.slice(1).map((time, i) => time - (times[i] ?? 0))
    for (const [i, least] of [40, 80, 200].entries()) expect(pauses[i]).toBeGreaterThanOrEqual(least - 2)
  })
})

describe('credentials', () => {
  test('go to the channel, and to no other host it redirects to; none is written', async () => {
    const other = await serve(channel)
    const server = await serve(channel, (request, response) => {
      response.writeHead(302, { location: `${other.url.replace('127.0.0.1', 'localhost')}${request.url}` }).end()
      return true
    })
    const cache = cacheFolder()
    const secrets = new Map([[server.url, { kind: 'basic', user: 'ann', password: 'hidden-word' } as const]])
    await fetchPackages([at(server)], options(cache, { secrets }))
    expect(server.seen[0]?.headers.authorization).toBe(`Basic ${Buffer.from('ann:hidden-word').toString('base64')}`)
    expect(other.seen[0]?.headers.authorization).toBeUndefined()
    expect(readFileSync(join(cache, 'urls.txt'), 'utf8')).not.toContain('hidden-word')
  })

  test('are a token in the address, which no file and no message names', async () => {
    const server = await serve(channel, (request, response) => {
      const path = (request.url ?? '').replace('/t/hidden-token', '')
      if (path === request.url) response.writeHead(401).end()
      else sendFile(join(channel, path), request, response)
      return true
    })
    const cache = cacheFolder()
    const secrets = new Map([[server.url, { kind: 'token', token: 'hidden-token' } as const]])
    await fetchPackages([at(server)], options(cache, { secrets }))
    expect(readFileSync(join(cache, 'urls.txt'), 'utf8')).not.toContain('hidden-token')
    const lost = { ...record, fn: 'lost-1-0.conda' }
    await expect(fetchPackages([at(server, lost)], options(cache, { secrets }))).rejects.toThrow(
      expect.not.objectContaining({ message: expect.stringContaining('hidden-token') }),
    )
  })

  test('are those of .netrc', async () => {
    const server = await serve(channel)
    const netrc = join(folder, 'netrc')
    writeFileSync(netrc, 'machine 127.0.0.1 login bob password word\n')
    process.env['NETRC'] = netrc
    try {
      await fetchPackages([at(server)], options(cacheFolder()))
    } finally {
      delete process.env['NETRC']
    }
    expect(server.seen[0]?.headers.authorization).toBe(`Basic ${Buffer.from('bob:word').toString('base64')}`)
  })
})

describe('without a network', () => {
  test('what is not cached is named', async () => {
    const server = await serve(channel)
    const failure = fetchPackages([at(server)], options(cacheFolder(), { offline: true }))
    await expect(failure).rejects.toMatchObject({
      code: 'DOWNLOAD_FAILED',
      message: expect.stringContaining(record.fn),
    })
    expect(server.seen).toHaveLength(0)
  })

  test('a channel on disk is used in place; a package that is not what its index says is refused', async () => {
    const cache = cacheFolder()
    const { archives } = await fetchPackages([record], options(cache, { offline: true }))
    expect(archives[0]?.file).toBe(join(channel, 'linux-64', record.fn))
    expect(readdirSync(cache)).toEqual([])
    const wrong = { ...record, sha256: '0'.repeat(64) }
    await expect(fetchPackages([wrong], options(cache))).rejects.toMatchObject({ code: 'PACKAGE_DAMAGED' })
    const weak = { ...record, sha256: null, md5: '0'.repeat(32) }
    await expect(fetchPackages([weak], options(cache))).rejects.toMatchObject({ code: 'PACKAGE_DAMAGED' })
  })
})

import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, request, type Server } from 'node:http'
import { createServer as createSecure } from 'node:https'
import { type AddressInfo, connect } from 'node:net'
import { join } from 'node:path'
import { buffer, text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Config, readConfig } from '../../src/conda/config.js'
import { get } from '../../src/install/http.js'
import { type Network, networkOf, proxyFor } from '../../src/install/network.js'
import { temporaryFolder } from '../support/temp.js'
import { serve } from './server.js'

const folder = temporaryFolder('network')
const channel = join(folder, 'channel')
const hasOpenssl = (() => {
  try {
    execFileSync('openssl', ['version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
})()

beforeAll(() => {
  mkdirSync(channel, { recursive: true })
  writeFileSync(join(channel, 'file'), 'content')
})

/** A network as this `.condarc` and these variables make it. */
let files = 0
function network(condarc: string, variables: Record<string, string> = {}): Network {
  const file = join(folder, `condarc-${files++}`)
  writeFileSync(file, condarc)
  const config: Config = readConfig({ CONDARC: file, HOME: folder })
  return networkOf(config, variables)
}

async function fetched(url: string, way: Network, more: object = {}): Promise<string> {
  const { statusCode, body } = await get(url, { network: way, attempts: 1, ...more })
  return `${statusCode} ${await text(body)}`
}

async function listening(server: Server): Promise<number> {
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  afterAll(() => {
    server.closeAllConnections()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

interface Proxy {
  readonly url: string
  readonly seen: { readonly line: string; readonly authorization: string | undefined }[]
}

/** A proxy as squid is one: forwards plain requests, tunnels CONNECT; `password`: refuses others with 407. */
async function proxy(password?: string): Promise<Proxy> {
  const seen: { line: string; authorization: string | undefined }[] = []
  const accepts = ({ method, url, headers }: IncomingMessage): boolean => {
    const authorization = headers['proxy-authorization']
    seen.push({ line: `${method} ${url}`, authorization })
    return password === undefined || authorization === `Basic ${Buffer.from(`ann:${password}`).toString('base64')}`
  }
  const server = createServer((incoming, response) => {
    if (!accepts(incoming)) return void response.writeHead(407).end()
    const { method = 'GET', url = '' } = incoming
    const { 'proxy-authorization': _, ...headers } = incoming.headers
    incoming.pipe(
      request(url, { method, headers }, (answer) => {
        response.writeHead(answer.statusCode ?? 500, answer.headers)
        answer.pipe(response)
      }),
    )
  })
  server.on('connect', (incoming: IncomingMessage, socket) => {
    if (!accepts(incoming)) return void socket.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n')
    const [host = '', port = ''] = (incoming.url ?? '').split(':')
    const far = connect(Number(port), host, () => {
      socket.write('HTTP/1.1 200 Connection Established\r\n\r\n')
      far.pipe(socket)
      socket.pipe(far)
    })
    far.on('error', () => socket.destroy())
    socket.on('error', () => far.destroy())
  })
  return { url: `http://127.0.0.1:${await listening(server)}`, seen }
}

describe('a proxy', () => {
  test('of proxy_servers is used for its scheme, with its credentials', async () => {
    const server = await serve(channel)
    const between = await proxy('hidden-word')
    const way = network(`proxy_servers:\n  http: ${between.url.replace('://', '://ann:hidden-word@')}\n`)
    expect(await fetched(`${server.url}/file`, way)).toBe('200 content')
    expect(between.seen.map(({ line }) => line)).toEqual([`GET ${server.url}/file`])
    expect(server.seen).toHaveLength(1)
  })

  test('that refuses is told at once, without its credentials', async () => {
    const server = await serve(channel)
    const between = await proxy('other')
    const way = network(`proxy_servers: {http: '${between.url.replace('://', '://ann:hidden-word@')}'}`)
    const failure = fetched(`${server.url}/file`, way, { attempts: 4, pause: 1 })
    await expect(failure).rejects.toMatchObject({
      ...{ code: 'DOWNLOAD_FAILED', message: expect.not.stringContaining('hidden-word') },
      hint: expect.stringContaining('credentials'),
    })
    expect([between.seen.length, server.seen.length]).toEqual([1, 0])
  })

  test('of the environment is used, and NO_PROXY goes around it', async () => {
    const server = await serve(channel)
    const between = await proxy()
    expect(await fetched(`${server.url}/file`, network('{}', { HTTP_PROXY: between.url }))).toBe('200 content')
    expect(between.seen).toHaveLength(1)
    const around = network('{}', { http_proxy: between.url, NO_PROXY: 'example.org, 127.0.0.1' })
    expect(await fetched(`${server.url}/file`, around)).toBe('200 content')
    expect(between.seen).toHaveLength(1)
  })

  test('that is none is refused', async () => {
    for (const wrong of ['socks5://ann:hidden-word@host:1080', 'http://'])
      await expect(fetched('http://127.0.0.1:1/', network(`proxy_servers: {http: '${wrong}'}`))).rejects.toMatchObject({
        ...{ code: 'CONFIG_DAMAGED', message: expect.not.stringContaining('hidden-word') },
      })
  })

  test.each([
    ['https://a.example.org/x', { https: 'p', http: 'q' }, {}, 'p'],
    ['https://a.example.org/x', { https: 'p', 'https://a.example.org': 'own' }, {}, 'own'],
    ['https://a.example.org/x', { all: 'any' }, {}, 'any'],
    ['https://a.example.org/x', { http: 'q' }, {}, null],
    ['https://a.example.org/x', { http: 'q' }, { https_proxy: 'env' }, 'env'],
    ['https://a.example.org/x', { https: 'p' }, { https_proxy: 'env' }, 'p'],
    ['https://a.example.org/x', {}, { ALL_PROXY: 'env' }, 'env'],
    ['https://a.example.org/x', { https: 'null' }, {}, null],
    ['https://a.example.org/x', { https: 'p' }, { no_proxy: '.example.org' }, null],
    ['https://a.example.org/x', { https: 'p' }, { no_proxy: 'example.org' }, null],
    ['https://a.example.org/x', { https: 'p' }, { no_proxy: 'ample.org' }, 'p'],
    ['https://a.example.org:8443/x', { https: 'p' }, { no_proxy: 'a.example.org:443' }, 'p'],
    ['https://a.example.org:8443/x', { https: 'p' }, { no_proxy: 'a.example.org:8443' }, null],
    ['https://a.example.org/x', { https: 'p' }, { no_proxy: '*' }, null],
  ])('for %s of %j and %j is %s', (url, configured, variables, expected) => {
    expect(proxyFor(url, new Map(Object.entries(configured)), variables)).toBe(expected)
  })
})

describe.skipIf(!hasOpenssl)('a server with a certificate of its own (skipped where openssl is missing)', () => {
  const [key, certificate] = [join(folder, 'key.pem'), join(folder, 'certificate.pem')]
  let url: string
  beforeAll(async () => {
    const names = ['-subj', '/CN=test', '-addext', 'subjectAltName=IP:127.0.0.1']
    const made = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-keyout', key, '-out', certificate]
    execFileSync('openssl', [...made, ...names], { stdio: 'ignore' })
    const server = createSecure({ key: readFileSync(key), cert: readFileSync(certificate) }, (_, response) => {
      response.end('secure')
    })
    url = `https://127.0.0.1:${await listening(server as unknown as Server)}/`
  })

  test('is refused at once, and it is said what to do', async () => {
    await expect(fetched(url, network('{}'), { attempts: 4, pause: 60_000 })).rejects.toMatchObject({
      ...{ code: 'DOWNLOAD_FAILED', message: expect.stringContaining('(1 attempt)') },
      hint: expect.stringContaining('ssl_verify'),
    })
  })

  test('is trusted by a bundle, a folder, a variable, or without a check', async () => {
    expect(await fetched(url, network(`ssl_verify: ${certificate}`))).toBe('200 secure')
    const bundles = join(folder, 'certificates')
    mkdirSync(bundles)
    writeFileSync(join(bundles, 'a.pem'), readFileSync(certificate))
    expect(await fetched(url, network(`ssl_verify: ${bundles}`))).toBe('200 secure')
    expect(await fetched(url, network('{}', { REQUESTS_CA_BUNDLE: certificate }))).toBe('200 secure')
    expect(await fetched(url, network('ssl_verify: false'))).toBe('200 secure')
    await expect(fetched(url, network('ssl_verify: truststore'))).rejects.toMatchObject({ code: 'DOWNLOAD_FAILED' })
  })

  test('is reached through a proxy by a tunnel, and its certificate is checked there too', async () => {
    const between = await proxy('word')
    const through = `proxy_servers: {https: '${between.url.replace('://', '://ann:word@')}'}`
    expect(await fetched(url, network(`${through}\nssl_verify: ${certificate}`))).toBe('200 secure')
    expect(between.seen.map(({ line }) => line)).toEqual([`CONNECT ${new URL(url).host}`])
    await expect(fetched(url, network(through))).rejects.toMatchObject({ code: 'DOWNLOAD_FAILED' })
  })

  test('whose bundle cannot be read, or is none, is told', async () => {
    await expect(fetched(url, network(`ssl_verify: ${join(folder, 'lost.pem')}`))).rejects.toMatchObject({ code: 'IO' })
    await expect(fetched(url, network(`ssl_verify: ${key}x`))).rejects.toThrow('ssl_verify')
    writeFileSync(join(folder, 'empty.pem'), '')
    const empty = network(`ssl_verify: ${join(folder, 'empty.pem')}`)
    await expect(fetched(url, empty)).rejects.toMatchObject({ code: 'CONFIG_DAMAGED' })
  })
})

describe('mirrors', () => {
  const dead = 'http://127.0.0.1:9'

  test('are asked in place of the channel, the next where one fails or lacks the file, a failing one last from then on', async () => {
    const empty = await serve(join(folder, 'nothing'))
    const good = await serve(channel)
    const way = network(`mirrored_channels: {lab: ['${dead}/lab', '${empty.url}', '${good.url}']}`)
    expect(await fetched('https://conda.anaconda.org/lab/file', way)).toBe('200 content')
    expect([empty.seen.length, good.seen.length]).toEqual([1, 1])
    expect(way.places('https://conda.anaconda.org/lab/x').map(({ url }) => url)).toEqual([
      `${empty.url}/x`,
      `${good.url}/x`,
      `${dead}/lab/x`,
    ])
    expect(way.places('https://conda.anaconda.org/laboratory/x')).toHaveLength(1)
  })

  test('get no credentials of the channel, but their own', async () => {
    const good = await serve(channel)
    const own = await serve(channel)
    const mirrors = [good.url, own.url.replace('://', '://bob:own-word@')]
    const secret = { kind: 'basic', user: 'ann', password: 'hidden-word' } as const
    for (const mirror of mirrors)
      await fetched('https://host/lab/file', network(`mirrored_channels: {'https://host/lab': ['${mirror}']}`), {
        secret,
      })
    expect(good.seen[0]?.headers.authorization).toBeUndefined()
    expect(own.seen[0]?.headers.authorization).toBe(`Basic ${Buffer.from('bob:own-word').toString('base64')}`)
  })

  test('none of which answers leave the last failure', async () => {
    const way = network(`mirrored_channels: {lab: ['${dead}/a', '${dead}/b']}`)
    await expect(fetched('https://conda.anaconda.org/lab/file', way, { pause: 1 })).rejects.toMatchObject({
      code: 'DOWNLOAD_FAILED',
      message: expect.stringContaining(`${dead}/b/file`),
    })
    const none = network('mirrored_channels: {lab: []}')
    await expect(fetched('https://conda.anaconda.org/lab/file', none)).rejects.toMatchObject({ code: 'CONFIG_DAMAGED' })
  })
})

test.each([65_536, 300_000, 5_000_000])(
  'a server that closes its connections is read to the end, however late (%i bytes)',
  async (size) => {
    const server = await serve(folder, (_, response) => {
      response.writeHead(200, { connection: 'close', 'content-length': size }).end(Buffer.alloc(size))
      return true
    })
    const { body } = await get(`${server.url}/x`, { attempts: 1 })
    await sleep(200)
    expect((await buffer(body)).length).toBe(size)
  },
)

import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import type { Secret } from '../../src/conda/channel.js'
import { tokenSecrets } from '../../src/install/credentials.js'
import type { RepoRecord } from '../../src/install/repodata.js'
import { runCli } from '../support/run-cli.js'
import { temporaryFolder } from '../support/temp.js'
import { build, writeIndex } from './built.js'
import { type Served, sendFile, serve } from './server.js'

const folder = temporaryFolder('credentials')
const channel = join(folder, 'channel')
let records: RepoRecord[]

beforeAll(async () => {
  records = [
    await build(channel, { name: 'tool', depends: ['data'], files: [{ path: 'share/tool', content: 'tool' }] }),
    await build(channel, { name: 'data', kind: 'tar.bz2', files: [{ path: 'share/data', content: 'data' }] }),
  ]
  writeIndex(channel, records)
})

const password = 'pw-hidden-word'
const token = 'tk-hidden-token'
const basic = `Basic ${Buffer.from(`ann:${password}`).toString('base64')}`

/** A server that wants a token in the address, or a user with a password. */
const guarded = (): Promise<Served> =>
  serve(channel, (request, response) => {
    const path = (request.url ?? '').replace(`/t/${token}`, '')
    if (path === request.url && request.headers.authorization !== basic) response.writeHead(401).end()
    else sendFile(join(channel, path), request, response)
    return true
  })

let made = 0
/** Runs create, in a home of its own, and answers with all that it said and wrote, but for the files of `mine`. */
async function created(
  args: readonly string[],
  more: { readonly env?: Record<string, string>; readonly mine?: Readonly<Record<string, string>> } = {},
): Promise<{ readonly status: number | null; readonly told: string; readonly written: string }> {
  const home = join(folder, `home-${made++}`)
  mkdirSync(home)
  for (const [name, content] of Object.entries(more.mine ?? {})) writeFileSync(join(home, name), content)
  const env = { HOME: home, ...more.env }
  const prefix = join(home, 'env')
  const all = ['create', '-p', prefix, '--override-channels', ...args.map((arg) => arg.replace('~', home))]
  const { status, stdout, stderr } = await runCli(all, { env })
  const views = status === 0 ? await viewed(prefix, env) : ''
  const files = readdirSync(home, { recursive: true, encoding: 'utf8', withFileTypes: true })
  const written = files
    .filter((file) => !(file.parentPath === home && file.name in (more.mine ?? {})))
    .map((file) => {
      const path = join(file.parentPath, file.name)
      return file.isFile() ? `${path}\n${readFileSync(path, 'latin1')}` : path
    })
  return { status, told: stdout + stderr + views, written: written.join('\n') }
}

async function viewed(prefix: string, env: Record<string, string>): Promise<string> {
  const views = [
    ['list', '--explicit'],
    ['list', '--json'],
    ['list', '-r'],
    ['export'],
    ['export', '--format', 'conda-lock'],
  ]
  const all = await Promise.all(views.map((args) => runCli([...args, '-p', prefix], { env })))
  return all.map(({ stdout, stderr }) => stdout + stderr).join('\n')
}

const at = ({ url }: Served, secret: string): string => url.replace('://', `://${secret}@`)

describe('credentials open the channel, and are neither told nor written', () => {
  type Way = readonly [string, (server: Served) => Parameters<typeof created>]
  const ways: readonly Way[] = [
    ['of its address', (server) => [['-c', at(server, `ann:${password}`), 'tool']]],
    ['a token in its address', (server) => [['-c', `${server.url}/t/${token}`, 'tool']]],
    ['of --token', (server) => [['-c', server.url, '--token', token, 'tool']]],
    ['of --token=', (server) => [['-c', server.url, `--token=${token}`, 'tool', '--json']]],
    ['of --token HOST=', (server) => [['-c', server.url, '--token', `${new URL(server.url).host}=${token}`, 'tool']]],
    ['of CONDA_TOKEN', (server) => [['-c', server.url, 'tool', '--json'], { env: { CONDA_TOKEN: token } }]],
    [
      'of .netrc',
      (server) => [
        ['-c', server.url, 'tool'],
        { mine: { '.netrc': `machine 127.0.0.1 login ann password ${password}\n` } },
      ],
    ],
    [
      'of .condarc, from the environment',
      (server) => [
        ['-c', 'lab', 'tool'],
        { mine: { '.condarc': `channel_alias: '${at(server, `ann:\${LAB_WORD}`)}/'\n` }, env: { LAB_WORD: password } },
      ],
    ],
    [
      'of environment.yml, from the environment',
      (server) => [
        ['--file', '~/environment.yml'],
        {
          mine: { 'environment.yml': `channels: ['${server.url}/t/\${LAB_WORD}', nodefaults]\ndependencies: [tool]\n` },
          env: { LAB_WORD: token },
        },
      ],
    ],
    [
      'of an explicit list',
      (server) => [
        ['--file', '~/explicit.txt'],
        {
          mine: {
            'explicit.txt': `@EXPLICIT\n${records.map(({ subdir, fn, md5 }) => `${server.url}/t/${token}/${subdir}/${fn}#${md5}`).join('\n')}\n`,
          },
        },
      ],
    ],
    [
      'of a lock file',
      (server) => [
        ['--file', '~/conda-lock.yml'],
        {
          mine: {
            'conda-lock.yml': JSON.stringify({
              version: 1,
              package: records.map(({ name, version, subdir, fn, md5 }) => ({
                ...{ name, version, manager: 'conda', platform: 'linux-64', hash: { md5 } },
                url: `${at(server, `ann:${password}`)}/${subdir}/${fn}`,
              })),
            }),
          },
        },
      ],
    ],
  ]
  test.each(ways)('%s', async (name, way) => {
    const server = await guarded()
    // A name beneath channel_alias: the channel is one folder further down.
    const links = name === 'of .condarc, from the environment'
    if (links) {
      symlinkSync('.', join(channel, 'lab'))
    }
    const { status, told, written } = await created(...way(server))
    expect([status, told]).toEqual([0, expect.stringContaining('tool')])
    for (const secret of [password, token, basic.slice(6)])
      for (const text of [told, written])
        expect(text.includes(secret), `${secret} in ${text.slice(0, 200)}`).toBe(false)
    expect(written).toContain(`${server.url}/`)
  })
})

// At once: most of the time goes by between attempts.
describe('what fails tells no credentials', () => {
  test.concurrent.each([
    ['a refusal', (url: string) => ['-c', `${url.replace('://', '://ann:pw-hidden-wrong@')}`, 'tool']],
    ['a token that is refused', (url: string) => ['-c', url, '--token', 'tk-hidden-wrong', 'tool']],
    ['a server that is not there', () => ['-c', `http://ann:${password}@127.0.0.1:9/c`, 'tool']],
    ['a channel that is not there', (url: string) => ['-c', `${url}/t/${token}/none`, 'tool']],
    ['a package that is not there', (url: string) => ['-c', `${url}/t/${token}`, 'no-such-thing']],
    ['a spec that is none', (url: string) => ['-c', url, `${url.replace('://', `://ann:${password}@`)}::=1`]],
    ['a password with an @', () => ['-c', 'http://ann:pw@hidden@127.0.0.1:9/c', 'tool']],
    ['a scheme that is not known', () => ['-c', `ftp://ann:${password}@host/c`, 'tool']],
    ['a token that is none', (url: string) => ['-c', url, '--token', 'pw-hidden word', 'tool']],
  ])('%s', async (_, args) => {
    const server = await guarded()
    const ended = [[], ['--json', '--verbose']].map((flags) => created([...args(server.url), ...flags]))
    for (const { status, told } of await Promise.all(ended)) {
      expect(status).not.toBe(0)
      expect(told).not.toContain('hidden')
    }
  })
})

describe('a token', () => {
  const alias = 'https://conda.anaconda.org'
  const of = (tokens: readonly string[], bases: readonly string[], known: readonly string[] = []): string[] => {
    const own = new Map(known.map((base): [string, Secret] => [base, { kind: 'token', token: 'own' }]))
    return [...tokenSecrets(tokens, bases, own, alias)].map(
      ([base, secret]) => `${base} ${secret.kind === 'token' && secret.token}`,
    )
  }

  test('goes to the one server, of several to that of channel_alias, or to the one that is named; never to disks or where there is one', () => {
    expect(of(['t'], ['https://a/x', 'https://a/y', 'file:///z'])).toEqual(['https://a/x t', 'https://a/y t'])
    expect(of(['t'], ['https://a/x', `${alias}/lab`])).toEqual([`${alias}/lab t`])
    expect(of(['a=t', 'b:81=u'], ['https://a/x', 'https://b:81/y', 'https://b/z'])).toEqual([
      'https://a/x t',
      'https://b:81/y u',
    ])
    expect(of(['t'], ['https://a/x', 'https://a/y'], ['https://a/x'])).toEqual(['https://a/x own', 'https://a/y t'])
    expect(of(['t'], ['file:///z'])).toEqual([])
    expect(() => of(['t'], ['https://a/x', 'https://b/y'])).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }))
    expect(() => of(['a/b'], ['https://a/x'])).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }))
  })
})

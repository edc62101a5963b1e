/**
 * What somebody else put where a deployment works: locks, stages, targets and markers as links, or as files of another user in a
 * directory that all may write to. Never followed, never adopted, never removed. What needs a second user needs root.
 */
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { type DeployOptions, deploy } from '../../src/deploy/deploy.js'
import { EnvError } from '../../src/errors.js'
import { draftOf, leastMembers, writeForged } from '../support/forge.js'
import { cliFile } from '../support/run-cli.js'
import { temporaryFolder } from '../support/temp.js'

const work = temporaryFolder('planted')
chmodSync(work, 0o755)
const archive = join(work, 'a.tar.zst')
writeForged(archive, draftOf(leastMembers))
const isRoot = process.getuid?.() === 0
const other = 65534

let count = 0
function place(mode = 0o755): string {
  const folder = join(work, String(++count))
  mkdirSync(folder)
  chmodSync(folder, mode)
  return folder
}

/** A directory with a file in it that nobody may touch. */
function victim(): { folder: string; intact: () => void } {
  const folder = place()
  mkdirSync(join(folder, '.conda-deploy'), { mode: 0o700 })
  writeFileSync(join(folder, 'file'), 'untouched', { mode: 0o600 })
  const seen = (): string =>
    JSON.stringify([readdirSync(folder), readdirSync(join(folder, '.conda-deploy')), ...modes()])
  const modes = (): number[] =>
    [folder, join(folder, 'file'), join(folder, '.conda-deploy')].map((at) => statSync(at).mode)
  const before = seen()
  return {
    folder,
    intact: () => {
      expect(seen()).toBe(before)
      expect(readFileSync(join(folder, 'file'), 'utf8')).toBe('untouched')
    },
  }
}

async function attempt(options: Partial<DeployOptions>): Promise<string> {
  try {
    return (await deploy({ archive, readOnly: false, threads: 2, ...options })).method
  } catch (error) {
    if (error instanceof EnvError) return error.code
    throw error
  }
}

/** As another user; the status and what was said. */
function asOther(args: readonly string[]): { status: number | null; said: string } {
  const { PATH } = process.env
  const options = { uid: other, gid: other, env: { PATH, HOME: '/nonexistent' }, encoding: 'utf8' as const }
  const { status, stdout, stderr } = spawnSync(process.execPath, [cliFile, ...args], options)
  return { status, said: stdout + stderr }
}

describe('links in the way', () => {
  test('the target: a link to a directory, to a deployment, to nothing', async () => {
    const folder = place()
    const { folder: there, intact } = victim()
    symlinkSync(there, join(folder, 'env'))
    expect(await attempt({ to: join(folder, 'env') })).toBe('TARGET_EXISTS')
    intact()
    expect(await attempt({ to: join(folder, 'real') })).toBe('deployed')
    symlinkSync('real', join(folder, 'alias'))
    expect(await attempt({ to: join(folder, 'alias') })).toBe('TARGET_EXISTS')
    symlinkSync('/nonexistent/place', join(folder, 'dangling'))
    expect(await attempt({ to: join(folder, 'dangling') })).toBe('TARGET_EXISTS')
    expect(readlinkSync(join(folder, 'dangling'))).toBe('/nonexistent/place')
  })

  test('the lock: a link is neither followed nor removed', async () => {
    const folder = place()
    const { folder: there, intact } = victim()
    symlinkSync(join(there, 'file'), join(folder, '.env.lock'))
    expect(await attempt({ to: join(folder, 'env') })).toBe('UNSAFE_PATH')
    symlinkSync(join(there, 'new'), join(folder, '.other.lock'))
    expect(await attempt({ to: join(folder, 'other') })).toBe('UNSAFE_PATH')
    intact()
    expect(readdirSync(folder).sort()).toEqual(['.env.lock', '.other.lock'])
  })

  test('the lock: a fifo, a device or a directory does not hang it', async () => {
    const folder = place()
    spawnSync('mkfifo', [join(folder, '.env.lock')])
    expect(await attempt({ to: join(folder, 'env') })).toBe('IO')
    mkdirSync(join(folder, '.other.lock'))
    expect(await attempt({ to: join(folder, 'other') })).toBe('IO')
  })

  test('a stage that is a link goes, what it leads to stays', async () => {
    const folder = place()
    const { folder: there, intact } = victim()
    symlinkSync(there, join(folder, '.env.4194399.stage'))
    symlinkSync(there, join(folder, `.env.${process.pid}.stage`))
    await attempt({ to: join(folder, 'env') })
    intact()
  })

  test('a marker that is a link to a true one is not believed for another place', async () => {
    const folder = place()
    expect(await attempt({ to: join(folder, 'true') })).toBe('deployed')
    mkdirSync(join(folder, 'env/.conda-deploy'), { recursive: true })
    symlinkSync(join(folder, 'true/.conda-deploy/ready'), join(folder, 'env/.conda-deploy/ready'))
    expect(await attempt({ to: join(folder, 'env') })).toBe('TARGET_EXISTS')
    expect(readdirSync(join(folder, 'env'))).toEqual(['.conda-deploy'])
  })

  test('the cache folder: a link, a file, or one that others can write to', async () => {
    const name = `conda-deploy-${process.getuid?.()}`
    const { folder: there, intact } = victim()
    const link = place()
    symlinkSync(there, join(link, name))
    expect(await attempt({ root: link })).toBe('PERMISSION')
    intact()
    const file = place()
    writeFileSync(join(file, name), '')
    expect(await attempt({ root: file })).toBe('PERMISSION')
    const open = place()
    mkdirSync(join(open, name))
    chmodSync(join(open, name), 0o777)
    expect(await attempt({ root: open })).toBe('PERMISSION')
  })

  test.each(['{}', '', '[1]', 'null', '{"version": 1}', `${'['.repeat(100_000)}`])(
    'a marker that says %.20s',
    async (text) => {
      const folder = place()
      mkdirSync(join(folder, 'env/.conda-deploy'), { recursive: true })
      writeFileSync(join(folder, 'env/.conda-deploy/ready'), text)
      expect(await attempt({ to: join(folder, 'env') })).toBe('TARGET_EXISTS')
    },
  )
})

describe.skipIf(!isRoot)('of another user, in a scratch folder for all (needs root)', () => {
  test('a lock that another user owns can be waited for, and is never removed by force', () => {
    const scratch = place(0o1777)
    writeFileSync(join(scratch, '.env.lock'), '')
    const { status, said } = asOther([archive, '--to', join(scratch, 'env'), '--writable'])
    expect(said).not.toContain('unexpected')
    expect(existsSync(join(scratch, '.env.lock'))).toBe(true)
    expect([0, 1]).toContain(status)
    expect(existsSync(join(scratch, 'env')), said).toBe(status === 0)
  })

  test('a stage of another user stays, and does not stand in the way', () => {
    const scratch = place(0o1777)
    mkdirSync(join(scratch, '.env.4194399.stage/lib'), { recursive: true })
    writeFileSync(join(scratch, '.env.4194399.stage/lib/file'), 'x')
    const { status, said } = asOther([archive, '--to', join(scratch, 'env'), '--writable'])
    expect(said).toContain(join(scratch, 'env'))
    expect(status).toBe(0)
    expect(existsSync(join(scratch, '.env.4194399.stage/lib/file'))).toBe(true)
  })

  test('a deployment of another user is not adopted', () => {
    const scratch = place(0o1777)
    expect(asOther([archive, '--to', join(scratch, 'env'), '--writable']).status).toBe(0)
    chownSync(join(scratch, 'env'), 12345, 12345)
    const { status, said } = asOther([archive, '--to', join(scratch, 'env'), '--writable'])
    expect(status).toBe(1)
    expect(said).toContain('a deployment of another user (12345)')
  })

  test('a cache folder of another user is not used, nor a marker in it believed', () => {
    const scratch = place(0o1777)
    mkdirSync(join(scratch, `conda-deploy-${other}`), { mode: 0o755 })
    const { status, said } = asOther([archive, '--root', scratch])
    expect(status).toBe(1)
    expect(said).toContain('belongs to user 0')
    expect(readdirSync(join(scratch, `conda-deploy-${other}`))).toEqual([])
    expect(lstatSync(join(scratch, `conda-deploy-${other}`)).uid).toBe(0)
  })
})

/** Root deploys where a user owns the directories: nothing is written through that user's links, whenever they are made. */
import {
  chmodSync,
  chownSync,
  lchownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { type DeployOptions, deploy } from '../../src/deploy/deploy.js'
import { EnvError } from '../../src/errors.js'
import { draftOf, leastMembers, writeForged } from '../support/forge.js'
import { temporaryFolder } from '../support/temp.js'
import { makeVictim, whileSwapped } from '../support/victim.js'

const work = temporaryFolder('on-behalf')
chmodSync(work, 0o755)
const archive = join(work, 'a.tar.zst')
writeForged(archive, draftOf(leastMembers))
const user = 65534

let count = 0
/** A directory of the user. */
function home(): string {
  const folder = join(work, `home${++count}`)
  mkdirSync(folder)
  chownSync(folder, user, user)
  return folder
}

const victimOf = () => makeVictim(join(work, `victim${++count}`))

function link(to: string, at: string, owner: number = user): void {
  symlinkSync(to, at)
  lchownSync(at, owner, owner)
}

async function attempt(options: Partial<DeployOptions>): Promise<{ code: string; message: string; prefix: string }> {
  try {
    const { prefix, method } = await deploy({ archive, threads: 2, ...options })
    return { code: method, message: '', prefix }
  } catch (error) {
    if (!(error instanceof EnvError)) throw error
    return { code: error.code, message: error.message, prefix: '' }
  }
}

const canTest = process.platform === 'linux' && process.getuid?.() === 0

describe.skipIf(!canTest)('as root on Linux', () => {
  test('into a directory of the user', async () => {
    const folder = home()
    const { code, prefix } = await attempt({ to: join(folder, 'env') })
    expect([code, prefix]).toEqual(['deployed', join(folder, 'env')])
    expect(readdirSync(folder)).toEqual(['env'])
    expect(JSON.parse(readFileSync(join(folder, 'env/.conda-deploy/ready'), 'utf8')).prefix).toBe(join(folder, 'env'))
    expect(statSync(join(folder, 'env')).uid).toBe(0)
    expect((await attempt({ to: join(folder, 'env') })).code).toBe('adopted')
  })

  test('a link of the user on the way is not followed, whatever it leads to', async () => {
    const folder = home()
    const victim = victimOf()
    link(victim.folder, join(folder, 'scratch'))
    link('scratch', join(folder, 'again'))
    for (const way of ['scratch/env', 'again/env', 'scratch/lib/env', 'scratch/new/env']) {
      const { code, message } = await attempt({ to: join(folder, way) })
      expect(code).toBe('UNSAFE_PATH')
      expect(message).toContain(`is a link of user ${user}`)
    }
    victim.intact()
  })

  test('a link of root is followed', async () => {
    const [folder, other] = [home(), home()]
    link(other, join(folder, 'scratch'), 0)
    expect((await attempt({ to: join(folder, 'scratch/env') })).code).toBe('deployed')
    expect(readdirSync(other)).toEqual(['env'])
  })

  test('no directories are made on the user’s ground, and errors say names, not numbers', async () => {
    const folder = home()
    const absent = await attempt({ to: join(folder, 'a/b/env') })
    expect([absent.code, readdirSync(folder)]).toEqual(['IO', []])
    link('/nonexistent', join(folder, '.env.lock'))
    const { message } = await attempt({ to: join(folder, 'env') })
    expect(message).toContain(join(folder, '.env.lock'))
    expect(message).not.toContain('/proc/')
  })

  test('the cache in a root folder of the user is root’s alone', async () => {
    const folder = home()
    const { code, prefix } = await attempt({ root: folder })
    expect(code).toBe('deployed')
    expect(prefix.startsWith(join(folder, 'conda-deploy-0/'))).toBe(true)
    expect(statSync(join(folder, 'conda-deploy-0'))).toMatchObject({ uid: 0 })
    expect(statSync(join(folder, 'conda-deploy-0')).mode & 0o777).toBe(0o700)
    const planted = home()
    const victim = victimOf()
    link(victim.folder, join(planted, 'conda-deploy-0'))
    expect((await attempt({ root: planted })).code).toBe('PERMISSION')
    const own = home()
    mkdirSync(join(own, 'conda-deploy-0'), { mode: 0o755 })
    chownSync(join(own, 'conda-deploy-0'), user, user)
    expect((await attempt({ root: own })).code).toBe('PERMISSION')
    expect(readdirSync(join(own, 'conda-deploy-0'))).toEqual([])
    victim.intact()
  })

  const races = [
    ['the stage', '/\\.env\\d+\\.\\d+\\.stage$'],
    ['the folder of the target', '/sub\\d+$'],
  ] as const
  test.each(races)('the user exchanges %s for a link, again and again', async (label, pattern) => {
    const folder = home()
    const victim = victimOf()
    const outcomes = new Set<string>()
    const swap = { folder, depth: 2, pattern, victim: victim.folder, as: user }
    await whileSwapped(swap, async () => {
      // On until the race was met, or there is no more hope of it.
      for (let i = 0; i < 40 || (outcomes.size < 2 && i < 400); i++) {
        const [fresh, sub] = [join(folder, `new${i}`), join(folder, `sub${i}`)]
        mkdirSync(fresh)
        lchownSync(fresh, user, user)
        // Swapped from the moment it has this name on.
        renameSync(fresh, sub)
        const { code } = await attempt({ to: join(sub, `env${i}`) })
        expect(['deployed', 'UNSAFE_PATH', 'IO', 'PERMISSION', 'TARGET_EXISTS'], label).toContain(code)
        outcomes.add(code)
        victim.intact()
      }
    })
    victim.intact()
    // A race in which nothing was ever swapped in time shows nothing.
    expect(outcomes.size).toBeGreaterThan(1)
  })
})

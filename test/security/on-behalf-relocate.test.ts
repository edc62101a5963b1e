/** Root relocates where a user owns the directories: nothing is read or written through that user's links, whenever they are made. */
import {
  chmodSync,
  existsSync,
  lchownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { deploy } from '../../src/deploy/deploy.js'
import { type RelocateOptions, relocate } from '../../src/deploy/relocate.js'
import { verify } from '../../src/deploy/verify.js'
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
function folderOf(owner: number, name = join(work, `folder${++count}`)): string {
  mkdirSync(name)
  lchownSync(name, owner, owner)
  return name
}
const deployed = async (folder: string, name = 'env'): Promise<string> =>
  (await deploy({ archive, to: join(folder, name) })).prefix

function link(to: string, at: string): void {
  symlinkSync(to, at)
  lchownSync(at, user, user)
}

async function attempt(options: RelocateOptions): Promise<{ code: string; message: string }> {
  try {
    return { code: (await relocate({ threads: 2, ...options })).method, message: '' }
  } catch (error) {
    if (!(error instanceof EnvError)) throw error
    return { code: error.code, message: error.message }
  }
}

const prefixIn = (at: string): unknown => JSON.parse(readFileSync(join(at, '.conda-deploy/ready'), 'utf8')).prefix

const canTest = process.platform === 'linux' && process.getuid?.() === 0

describe.skipIf(!canTest)('as root on Linux', () => {
  test('within a directory of the user, and from one to another', async () => {
    const [folder, other] = [folderOf(user), folderOf(user)]
    const at = await deployed(folder)
    expect((await attempt({ directory: at, to: join(folder, 'next') })).code).toBe('moved')
    expect(readdirSync(folder)).toEqual(['next'])
    expect((await attempt({ directory: join(folder, 'next'), to: join(other, 'env'), copy: true })).code).toBe('copied')
    expect(prefixIn(join(other, 'env'))).toBe(join(other, 'env'))
    expect((await verify(join(other, 'env'))).faults).toEqual([])
    expect([readdirSync(folder), readdirSync(other)]).toEqual([['next'], ['env']])
  })

  test('a link of the user is followed neither to the tree nor to the target', async () => {
    const folder = folderOf(user)
    const victim = makeVictim(join(work, `victim${++count}`))
    const at = await deployed(folder)
    const roots = await deployed(folderOf(0))
    link(victim.folder, join(folder, 'way'))
    link(roots, join(folder, 'lure'))
    const tries: RelocateOptions[] = [
      { directory: at, to: join(folder, 'way/env') },
      { directory: join(folder, 'way/env'), to: join(folder, 'next') },
      { directory: join(folder, 'lure'), to: join(folder, 'next') },
      { directory: join(folder, 'lure') },
    ]
    for (const options of tries) {
      const { code, message } = await attempt(options)
      expect(code).toBe('UNSAFE_PATH')
      expect(message).toContain(`is a link of user ${user}`)
      expect(message).not.toContain('/proc/')
    }
    victim.intact()
    expect((await verify(roots)).faults).toEqual([])
    expect(readdirSync(folder).sort()).toEqual(['env', 'lure', 'way'])
  })

  test('errors say names, not numbers', async () => {
    const folder = folderOf(user)
    const { code, message } = await attempt({ directory: join(folder, 'absent'), to: join(folder, 'next') })
    expect([code, message]).toEqual(['NOT_A_DEPLOYMENT', `there is nothing at ${join(folder, 'absent')}`])
    const at = await deployed(folder)
    chmodSync(join(at, 'lib'), 0o700)
    mkdirSync(join(at, 'lib/added'))
    const added = await attempt({ directory: at, to: join(folder, 'next') })
    expect(added.code).toBe('VERIFY_FAILED')
    expect(added.message).toContain(at)
    expect(added.message).not.toContain('/proc/')
  })

  const races = [
    ['the stage', '/\\.env\\d+\\.\\d+\\.stage$'],
    ['the folder of the target', '/sub\\d+$'],
  ] as const
  test.each(races)('the user exchanges %s for a link, again and again', async (label, pattern) => {
    const folder = folderOf(user)
    const victim = makeVictim(join(work, `victim${++count}`))
    const source = folderOf(0)
    const outcomes = new Set<string>()
    await whileSwapped({ folder, depth: 2, pattern, victim: victim.folder, as: user }, async () => {
      for (let i = 0; i < 40 || (outcomes.size < 2 && i < 200); i++) {
        const at = existsSync(join(source, 'env')) ? join(source, 'env') : await deployed(source)
        // Swapped from the moment it has this name on.
        const sub = join(folder, `sub${i}`)
        renameSync(folderOf(user, join(folder, `new${i}`)), sub)
        const { code } = await attempt({ directory: at, to: join(sub, `env${i}`) })
        expect(['moved', 'UNSAFE_PATH', 'IO', 'PERMISSION', 'TARGET_EXISTS'], label).toContain(code)
        // Where it was refused, the tree is where it was, unless it had its name when that was led astray.
        if (code !== 'moved' && code !== 'UNSAFE_PATH') expect((await verify(at)).faults).toEqual([])
        outcomes.add(code)
        victim.intact()
      }
    })
    victim.intact()
    expect(outcomes.size).toBeGreaterThan(1)
  })
})

/** Root updates where a user owns the directories, or the tree: nothing is done through that user's links, nor by that user's journal. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, lchownSync, mkdirSync, readdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { beforeAll, describe, expect, test } from 'vitest'
import { type DeployOptions, deploy } from '../../src/deploy/deploy.js'
import { verify } from '../../src/deploy/verify.js'
import { EnvError } from '../../src/errors.js'
import { temporaryFolder } from '../support/temp.js'
import { earlier, litterOf, newer, packed } from '../support/update-pair.js'
import { makeVictim, whileSwapped } from '../support/victim.js'

const work = temporaryFolder('on-behalf')
chmodSync(work, 0o755)
const [old, next] = [join(work, 'old.tar.zst'), join(work, 'new.tar.zst')]
const user = 65534
const canTest = process.platform === 'linux' && process.getuid?.() === 0

let count = 0
function folderOf(owner: number, path = join(work, `folder${++count}`)): string {
  mkdirSync(path)
  lchownSync(path, owner, owner)
  return path
}

async function attempt(options: DeployOptions): Promise<{ code: string; message: string }> {
  try {
    return { code: (await deploy({ threads: 2, update: true, ...options })).method, message: '' }
  } catch (error) {
    if (!(error instanceof EnvError)) throw error
    return { code: error.code, message: error.message }
  }
}

/** A folder of an interrupted update that would have `file` of whatever `old` leads to moved into the tree, and `mine` to where `new` leads. */
function plant(prefix: string, victim: string): void {
  const own = folderOf(user, join(prefix, '.conda-deploy'))
  const change = folderOf(user, join(own, 'change'))
  for (const name of ['new', 'old']) {
    symlinkSync(victim, join(change, name))
    lchownSync(join(change, name), user, user)
  }
  writeFileSync(join(prefix, 'mine'), 'mine')
  const groups = [[{ path: 'mine', how: 'add' }], [{ path: 'file', how: 'remove' }]]
  writeFileSync(join(change, 'journal.json'), JSON.stringify({ version: 1, groups, tidy: [] }))
}

describe.skipIf(!canTest)('as root on Linux', () => {
  beforeAll(async () => {
    await packed(old, earlier)
    await packed(next, newer)
  })

  test.each([true, false])('the journal of a user is not done (--update: %s)', async (update) => {
    const victim = makeVictim(join(work, `victim${++count}`))
    const to = folderOf(user)
    plant(to, victim.folder)
    const { code, message } = await attempt({ archive: next, to, update })
    expect([code, message]).toEqual([
      'TARGET_EXISTS',
      expect.stringContaining('a directory that conda-deploy did not make'),
    ])
    victim.intact()
    expect(readdirSync(to).sort()).toEqual(['.conda-deploy', 'mine'])
  })

  test('folders of an update that are links are not followed', async () => {
    const victim = makeVictim(join(work, `victim${++count}`))
    const to = join(folderOf(0), 'env')
    await deploy({ archive: old, to })
    chmodSync(join(to, '.conda-deploy'), 0o755)
    const change = folderOf(0, join(to, '.conda-deploy/change'))
    for (const name of ['new', 'old']) symlinkSync(victim.folder, join(change, name))
    writeFileSync(join(change, 'journal.json'), JSON.stringify({ version: 1, groups: [], tidy: [] }))
    const { code } = await attempt({ archive: next, to })
    expect(code).toBe('ENV_DAMAGED')
    victim.intact()
  })

  test('in a directory of the user; errors say names, not numbers', async () => {
    const folder = folderOf(user)
    const to = join(folder, 'env')
    await deploy({ archive: old, to, readOnly: false })
    writeFileSync(join(to, 'share/empty'), 'in the way')
    const refused = await attempt({ archive: next, to, readOnly: false })
    expect(refused.code).toBe('TARGET_EXISTS')
    expect(refused.message).toContain(`${to} has files`)
    expect(refused.message).not.toContain('/proc/')
    renameSync(join(to, 'share/empty'), join(to, 'share/mine'))
    expect(await attempt({ archive: next, to, readOnly: false })).toEqual({ code: 'updated', message: '' })
    expect((await verify(to)).faults).toMatchObject([{ path: 'share/mine', kind: 'extra' }])
    expect([readdirSync(folder), litterOf(to)]).toEqual([['env'], []])
  })

  test('the user exchanges the tree for a link in the midst of an update, again and again', async () => {
    const folder = folderOf(user)
    const victim = makeVictim(join(work, `victim${++count}`))
    const script = `
      const { existsSync, readdirSync, renameSync, symlinkSync } = require('node:fs')
      const [folder, victim] = process.argv.slice(1)
      process.stdout.write('ready')
      for (let i = 0; ; ) {
        const name = readdirSync(folder).find((one) => /^env/.test(one) && existsSync(folder + '/' + one + '/.conda-deploy/change'))
        if (name === undefined) continue
        for (const end = performance.now() + (i % 8) / 4; performance.now() < end; );
        renameSync(folder + '/' + name, folder + '/stolen' + i++)
        symlinkSync(victim, folder + '/' + name)
      }`
    const thief = spawn(process.execPath, ['-e', script, folder, victim.folder], {
      ...{ stdio: ['ignore', 'pipe', 'inherit'], uid: user, gid: user },
    })
    try {
      await once(thief.stdout as Readable, 'data')
      const codes: string[] = []
      for (let i = 0; i < 16; i++) {
        const to = join(folder, `env${i}`)
        await deploy({ archive: old, to, threads: 2 })
        codes.push((await attempt({ archive: next, to })).code)
        victim.intact()
      }
      expect(codes.filter((code) => code !== 'updated')).toEqual([])
      // A race in which nothing was ever exchanged in time shows nothing.
      expect(readdirSync(folder).filter((name) => name.startsWith('stolen')).length).toBeGreaterThan(0)
    } finally {
      thief.kill('SIGKILL')
      await once(thief, 'close')
    }
    victim.intact()
  })

  const races = [
    ['the tree', '/env\\d+$', ''],
    ['the folder of the target', '/sub\\d+$', 'sub'],
  ] as const
  test.each(races)('the user exchanges %s for a link, again and again', async (label, pattern, sub) => {
    const folder = folderOf(user)
    const victim = makeVictim(join(work, `victim${++count}`))
    const outcomes = new Set<string>()
    await whileSwapped({ folder, depth: 2, pattern, victim: victim.folder, as: user }, async () => {
      for (let i = 0; i < 40 || (outcomes.size < 2 && i < 200); i++) {
        const fresh = folderOf(user, join(folder, `new${i}`))
        const way = sub === '' ? fresh : join(folder, `sub${i}`)
        const to = join(way, `env${i}`)
        // The tree is swapped as soon as it stands, the folder from the moment it has this name on.
        if (sub !== '') renameSync(fresh, way)
        await attempt({ archive: old, to })
        const { code } = await attempt({ archive: next, to })
        expect(
          [
            'updated',
            'deployed',
            'UNSAFE_PATH',
            'IO',
            'PERMISSION',
            'TARGET_EXISTS',
            'ENV_DAMAGED',
            'NOT_A_DEPLOYMENT',
          ],
          label,
        ).toContain(code)
        outcomes.add(code)
        victim.intact()
      }
    })
    victim.intact()
    expect(outcomes.size).toBeGreaterThan(1)
  })
})

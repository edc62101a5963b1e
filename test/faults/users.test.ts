/** case 44: trees that others can use, users who share a machine, and what a user may do to an administrator's deployment. */
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { beforeAll, describe, expect, test } from 'vitest'
import { cliAs, type EndedAs, noOtherUsers, runAs } from '../support/as-user.js'
import { makeEnvironment } from '../support/make-env.js'
import { rawTar } from '../support/raw-tar.js'
import { cliFile, runCli } from '../support/run-cli.js'
import { removeTree, temporaryFolder } from '../support/temp.js'
import { describeTree, differences } from '../support/tree.js'
import { environmentOf, type Fixture, makeFixture, namesIn } from './fixture.js'
import { Injector, noInjection } from './inject.js'

const work = temporaryFolder('faults')

const nobody = 65534
const stranger = 65533
if (noOtherUsers !== null) console.log(`skipped: users: ${noOtherUsers}`)

describe.skipIf(noOtherUsers !== null)('users', () => {
  let fixture: Fixture
  beforeAll(async () => {
    fixture = await makeFixture(work, 12, 500)
    chmodSync(fixture.folder, 0o755)
  })

  const folder = (name: string, user: number, mode = 0o755): string => {
    const path = join(fixture.folder, name)
    mkdirSync(path)
    chownSync(path, user, user)
    chmodSync(path, mode)
    return path
  }

  /** Entries of a tree that others cannot read, or that they can change. */
  function closed(root: string): string[] {
    const all = ['.', ...readdirSync(root, { recursive: true, encoding: 'utf8' })]
    return all.filter((path) => {
      const stat = lstatSync(join(root, path))
      if (stat.isSymbolicLink()) return false
      return (
        (stat.mode & 0o7022) !== 0 ||
        (stat.mode & (stat.isDirectory() ? 0o555 : 0o444)) !== (stat.isDirectory() ? 0o555 : 0o444)
      )
    })
  }

  test('case 44: a private source, packed and deployed under umask 077, gives a tree that another user can run', () => {
    const source = join(fixture.folder, 'private')
    makeEnvironment(source, environmentOf(5, 100))
    for (const path of readdirSync(source, { recursive: true, encoding: 'utf8' })) {
      const full = join(source, path)
      const stat = lstatSync(full)
      if (!stat.isSymbolicLink()) chmodSync(full, stat.isDirectory() || (stat.mode & 0o100) !== 0 ? 0o700 : 0o600)
    }
    const [archive, prefix] = [join(fixture.folder, 'private.tar.zst'), join(fixture.folder, 'opened')]
    const line = (...args: string[]) => [process.execPath, cliFile, ...args].map((word) => `'${word}'`).join(' ')
    const script = `umask 077; ${line('pack', '-p', source, '-o', archive, '-q')} && ${line(archive, '--to', prefix, '-q')}`
    expect(spawnSync('sh', ['-c', script], { encoding: 'utf8' })).toMatchObject({ status: 0 })
    // The archive is its owner's, the tree is everybody's.
    expect((lstatSync(archive).mode & 0o777).toString(8)).toBe('600')
    expect(closed(prefix)).toEqual([])
    expect(runAs(nobody, [join(prefix, 'bin/tool')])).toMatchObject({ status: 0, stdout: `${prefix}\n${prefix}\n` })
    expect(cliAs(nobody, ['verify', prefix])).toMatchObject({ status: 0 })
    expect(runAs(nobody, ['sh', '-c', `echo x >> '${prefix}/notes.txt'`]).status).not.toBe(0)
  })

  test('case 44: the umask of a deployment does not matter, whatever the archive', () => {
    for (const which of ['archive', 'foreign'] as const) {
      const trees = ['000', '022', '077', '777'].map((umask) => {
        const prefix = join(fixture.folder, 'umask')
        const command = `umask ${umask}; exec '${process.execPath}' '${cliFile}' '${fixture[which]}' --to '${prefix}' -q`
        const ended = runAs(nobody, ['true'])
        expect(ended.status).toBe(0)
        expect(spawnSync('sh', ['-c', command], { encoding: 'utf8' })).toMatchObject({ status: 0, stderr: '' })
        const tree = describeTree(prefix, ['.conda-deploy'])
        expect(closed(prefix)).toEqual([])
        removeTree(prefix)
        return tree
      })
      for (const tree of trees) expect(differences(tree, trees[0] as Map<string, string>)).toEqual([])
    }
  })

  test('case 44: neither owners nor setuid, setgid and sticky bits come out of an archive', async () => {
    const record = JSON.stringify({
      name: 'x',
      version: '1',
      build: '0',
      files: [],
      paths_data: { paths: [], paths_version: 1 },
    })
    const archive = join(fixture.folder, 'setuid.tar')
    writeFileSync(
      archive,
      rawTar([
        { name: 'conda-meta/x-1-0.json', data: record },
        { name: 'conda-meta/history', data: '' },
        { name: 'bin/su', data: 'x', mode: 0o6755 },
        { name: 'bin/open', data: 'x', mode: 0o777 },
        { name: 'tmp', type: '5', mode: 0o1777 },
      ]).map((byte) => byte),
    )
    const source = join(fixture.folder, 'setuid-source')
    spawnSync('cp', ['-a', fixture.prefix, source])
    chmodSync(join(source, 'bin/tool'), 0o6777)
    chownSync(join(source, 'notes.txt'), nobody, nobody)
    const ours = join(fixture.folder, 'setuid.tar.zst')
    expect(await runCli(['pack', '-p', source, '-o', ours, '-q'])).toMatchObject({ status: 0 })
    for (const one of [archive, ours]) {
      const prefix = join(fixture.folder, 'setuid')
      expect(await runCli([one, '--to', prefix, '--writable', '-q'])).toMatchObject({ status: 0 })
      expect(closed(prefix)).toEqual([])
      const owners = readdirSync(prefix, { recursive: true, encoding: 'utf8' }).map(
        (path) => lstatSync(join(prefix, path)).uid,
      )
      expect([...new Set(owners)]).toEqual([0])
      removeTree(prefix)
    }
  })

  test('case 44: users who share a scratch folder get copies of their own; nobody adopts what another could write', () => {
    const root = folder('scratch', 0, 0o1777)
    const deployAs = (user: number): EndedAs => cliAs(user, [fixture.archive, '--root', root])
    expect(deployAs(nobody)).toMatchObject({ status: 0 })
    expect(deployAs(stranger)).toMatchObject({ status: 0 })
    expect(deployAs(0)).toMatchObject({ status: 0 })
    expect(namesIn(root)).toEqual(['conda-deploy-0', `conda-deploy-${stranger}`, `conda-deploy-${nobody}`])
    for (const name of namesIn(root)) expect((lstatSync(join(root, name)).mode & 0o777).toString(8)).toBe('700')
    // A folder that another made under this user's name, a link, and a folder that others can write.
    const trap = folder('trap', 0, 0o1777)
    runAs(nobody, ['mkdir', '-m', '755', `${trap}/conda-deploy-${stranger}`])
    expect(cliAs(stranger, [fixture.archive, '--root', trap])).toMatchObject({
      status: 1,
      stderr: expect.stringContaining(`belongs to user ${nobody}, not ${stranger}`),
    })
    runAs(nobody, ['ln', '-s', `${root}/conda-deploy-${nobody}`, `${trap}/conda-deploy-0`])
    expect(cliAs(0, [fixture.archive, '--root', trap])).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('is no directory'),
    })
    runAs(nobody, ['mkdir', '-m', '777', `${trap}/conda-deploy-${nobody}`])
    expect(cliAs(nobody, [fixture.archive, '--root', trap])).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('can be written by others'),
    })
    expect(namesIn(join(trap, `conda-deploy-${stranger}`))).toEqual([])
  })

  test('case 44: a named target of another user is refused, that of the administrator is adopted', () => {
    const shared = folder('shared', 0, 0o1777)
    const [theirs, roots] = [join(shared, 'theirs'), join(shared, 'roots')]
    expect(cliAs(nobody, [fixture.archive, '--to', theirs])).toMatchObject({ status: 0 })
    expect(cliAs(stranger, [fixture.archive, '--to', theirs])).toMatchObject({
      status: 1,
      stderr: expect.stringContaining(`a deployment of another user (${nobody})`),
    })
    expect(cliAs(0, [fixture.archive, '--to', roots])).toMatchObject({ status: 0 })
    expect(cliAs(stranger, [fixture.archive, '--to', roots, '--json'])).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('"method":"adopted"'),
    })
    // One user's lock file in a sticky folder neither stops nor is removed by another.
    runAs(nobody, ['touch', `${shared}/.new.lock`])
    const other = cliAs(stranger, [fixture.archive, '--to', join(shared, 'new')])
    expect(other.stderr).not.toMatch(/^ {4}at |unexpected/m)
    expect(other.status === 0 || other.status === 1).toBe(true)
  })

  test('case 44: files that the user cannot read are listed, and nothing is packed', () => {
    const source = join(fixture.folder, 'unreadable')
    spawnSync('cp', ['-a', fixture.prefix, source])
    const hidden = ['notes.txt', 'bin/tool', ...[0, 1, 2].map((i) => `share/many/d${i}/f${i}`)]
    for (const path of hidden) chmodSync(join(source, path), 0o600)
    const out = folder('unreadable-out', nobody)
    const ended = cliAs(nobody, ['pack', '-p', source, '-o', join(out, 'x.tar.zst')])
    expect(ended).toMatchObject({ status: 1, stderr: expect.stringMatching(/5 files .*permission denied/) })
    expect(ended.stderr).toMatch(/\+ 2 others/)
    const told = cliAs(nobody, ['pack', '-p', source, '-o', join(out, 'x.tar.zst'), '--json'])
    expect([...JSON.parse(told.stderr).error.paths].sort()).toEqual([...hidden].sort())
    expect(namesIn(out)).toEqual([])
    chmodSync(join(source, 'share/many'), 0o700)
    const again = cliAs(nobody, ['pack', '-p', source, '-o', join(out, 'x.tar.zst')])
    expect(again).toMatchObject({ status: 1, stderr: expect.stringContaining('share/many') })
    expect(namesIn(out)).toEqual([])
  })

  test('case 44: an archive that only a group may read deploys for its members, and is refused plainly for others', () => {
    const home = folder('home', 0)
    const archive = join(home, 'group.tar.zst')
    spawnSync('cp', [fixture.archive, archive])
    chownSync(archive, 0, 4242)
    chmodSync(archive, 0o640)
    const out = folder('group-out', nobody)
    expect(cliAs(nobody, [archive, '--to', join(out, 'env')])).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/^conda-deploy: .*[Pp]ermission denied/),
    })
    const member = [`--reuid=${nobody}`, '--regid=4242', '--clear-groups', process.execPath, cliFile]
    expect(spawnSync('setpriv', [...member, archive, '--to', join(out, 'env')], { encoding: 'utf8' })).toMatchObject({
      status: 0,
    })
    expect(closed(join(out, 'env'))).toEqual([])
    // A folder that may be passed through but not read: by name its archive is found.
    chmodSync(home, 0o711)
    chmodSync(archive, 0o644)
    expect(cliAs(nobody, [archive, '--to', join(out, 'env')])).toMatchObject({ status: 0 })
  })

  test('case 44: a place where the user may not write is refused plainly', () => {
    const locked = folder('locked', 0)
    for (const args of [
      [fixture.archive, '--to', join(locked, 'env')],
      [fixture.foreign, '--to', join(locked, 'a/env')],
      ['pack', '-p', fixture.prefix, '-o', join(locked, 'x.tar.zst')],
    ])
      expect(cliAs(nobody, [...args])).toMatchObject({
        status: 1,
        stderr: expect.stringMatching(/^conda-deploy: .*permission denied/i),
      })
    expect(namesIn(locked)).toEqual([])
  })

  test.skipIf(noInjection !== null)(
    'case 44: root deploying into a folder of a user writes nothing through links that the user puts there',
    async () => {
      const injector = new Injector(fixture.folder)
      const victim = folder('victim', 0)
      mkdirSync(join(victim, '.conda-deploy'), { mode: 0o700 })
      writeFileSync(join(victim, '.conda-deploy/index'), 'victim', { mode: 0o600 })
      chmodSync(victim, 0o700)
      const before = describeTree(fixture.folder, ['stolen', 'theirs', 'inject.log'])
      let moments = 0
      const wrong: string[] = []
      for (const which of ['archive', 'foreign'] as const) {
        const home = join(fixture.folder, 'theirs')
        const args = [fixture[which], '--to', join(home, 'env'), '--threads', '1']
        folder('theirs', nobody)
        const trace = await injector.trace({ beneath: [home] }, (env) => runCli(args, { env }))
        removeTree(home)
        const first = trace.findIndex((call) => call.includes('.stage/')) + 1
        const points = [
          first,
          ...Array.from({ length: 6 }, (_, i) => first + 1 + i * Math.floor((trace.length - first - 14) / 6)),
        ]
        for (let last = trace.length - 13; last < trace.length; last++) points.push(last)
        for (const at of points) {
          folder('theirs', nobody)
          const stopped = { beneath: [home], at, how: 'signal 19' as const }
          const swap = async (pid: number): Promise<void> => {
            while (!['T', ''].includes(stateOf(pid))) await sleep(2)
            const stage = namesIn(home).find((name) => name.endsWith('.stage'))
            if (stage !== undefined) {
              renameSync(join(home, stage), join(home, 'stolen'))
              symlinkSync(victim, join(home, stage))
            }
            if (stateOf(pid) === 'T') process.kill(pid, 'SIGCONT')
          }
          await runCli(args, { env: injector.env(stopped), during: (child) => void swap(child.pid ?? 0) })
          moments++
          const changed = differences(describeTree(fixture.folder, ['stolen', 'theirs', 'inject.log']), before)
          if (changed.length > 0) wrong.push(`${which} at ${at} ${trace[at - 1]}: ${changed.join(', ')}`)
          for (const [path, mode] of [
            ['', 0o700],
            ['.conda-deploy', 0o700],
            ['.conda-deploy/index', 0o600],
          ] as const)
            chmodSync(join(victim, path), mode)
          removeTree(home)
        }
      }
      console.log(`links put in the way: ${moments} moments, ${wrong.length} followed`)
      expect(wrong).toEqual([])
    },
  )
})

/** Of a process: T when it is stopped; empty when it is gone. */
function stateOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /, '')
      .slice(0, 1)
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return ''
    throw error
  }
}

/**
 * `conda-deploy broadcast` on four nodes of a real Slurm: every node gets what it needs and keeps nothing else, nodes that cannot are named
 * and keep nobody from it, and whatever ends it in the middle leaves no file on any node.
 */
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { BroadcastResult } from '../../../src/slurm/broadcast.js'
import { writeSample } from '../../deploy/sample.js'
import { cliFile } from '../../support/run-cli.js'
import { removeTree, temporaryFolder } from '../../support/temp.js'
import { Cluster, missingForSlurm, until } from './cluster.js'

const missing = missingForSlurm()
if (missing !== null) console.warn(`skipped: test/e2e/slurm/broadcast: ${missing}`)

/** Whether everybody can get there: the temporary folder may be somebody's own. */
const isOpen = (path: string): boolean => path === '/' || ((statSync(path).mode & 0o001) !== 0 && isOpen(dirname(path)))

describe.skipIf(missing !== null)('broadcast in a real Slurm', () => {
  const folder = temporaryFolder('broadcast')
  const cluster = new Cluster(join(folder, 'cluster'), 4)
  const shared = join(folder, 'shared')
  const scratch = join(cluster.local, 'scratch')
  const archive = join(shared, 'large.tar.zst')
  const scratchOf = (node: string): string => join(cluster.localOf(node), 'scratch')
  /** Names beneath a node's scratch folder, two levels deep. */
  const on = (node: string): string[] =>
    !existsSync(scratchOf(node))
      ? []
      : readdirSync(scratchOf(node)).flatMap((name) =>
          name.startsWith('conda-deploy-') && !name.includes('tar')
            ? readdirSync(join(scratchOf(node), name))
                .filter((inner) => inner !== '.leases')
                .map((inner) => `${name}/${inner}`)
            : [name],
        )
  /** What no finished broadcast leaves: copies, parts of them, stages, locks. */
  const strays = (): string[] =>
    cluster.nodes.flatMap((node) =>
      on(node)
        .filter((name) => !/^conda-deploy-\d+\/[0-9a-f]{16}$/.test(name))
        .map((name) => `${node}: ${name}`),
    )
  const line = (...flags: string[]): string => [process.execPath, cliFile, 'broadcast', archive, ...flags].join(' ')
  const batch = (script: string, nodes = 4, as = {}) => cluster.batch(script, [`-N${nodes}`], as)
  const jsonIn = (output: string): BroadcastResult =>
    JSON.parse(output.split('\n').find((text) => text.startsWith('{')) ?? '') as BroadcastResult

  beforeAll(async () => {
    chmodSync(folder, 0o755)
    for (const path of [cluster.folder, shared]) mkdirSync(path)
    // 96 MB that do not compress: a dozen blocks of sbcast.
    await writeSample(archive, { ballast: [48, 2_000_000] })
    chmodSync(archive, 0o644)
    if (!isOpen(folder))
      console.warn(`skipped: test/e2e/slurm/broadcast: as a normal user, who cannot get to ${folder}`)
    await cluster.up({})
  })
  afterAll(async () => await cluster.down())
  const clear = (): void => {
    for (const node of cluster.nodes)
      for (const name of readdirSync(scratchOf(node))) removeTree(join(scratchOf(node), name))
  }
  afterEach(clear)

  test('every node has the environment, and tasks run in it; the copies are gone', async () => {
    const { output, state } = await batch(
      `prefix=$(${line('--root', scratch)}) || exit 1\nsrun -N4 -n8 -O sh -c "echo \\$SLURMD_NODENAME; ls $prefix/conda-meta >/dev/null && echo there"`,
    )
    expect(state, output).toBe('COMPLETED')
    for (const node of cluster.nodes) {
      expect(output).toMatch(new RegExp(`^${node}\\s+deployed\\s`, 'm'))
      expect(on(node)).toHaveLength(1)
    }
    expect(output.match(/^there$/gm)).toHaveLength(8)
    expect(strays()).toEqual([])
  })

  test('as a normal user, from the shared file system, and again', async () => {
    const user = isOpen(folder) ? { uid: 65534, env: { HOME: '/', USER: 'nobody' } } : {}
    const flags = ['--root', scratch, '--from', 'shared', '--json', '-q']
    const { output, state } = await batch(`${line(...flags)}\n${line(...flags)} | tr d D`, 2, user)
    expect(state, output).toBe('COMPLETED')
    const result = jsonIn(output)
    expect(result.copy).toBeNull()
    expect(result.nodes.map(({ node, status }) => [node, status])).toEqual([
      ['node1', 'deployed'],
      ['node2', 'deployed'],
    ])
    expect(output.match(/"aDopteD"/g)).toHaveLength(2)
  })

  test('the copy is kept where it is wanted, equal on every node', async () => {
    const { output } = await batch(line('--root', scratch, '--keep', '--json', '-q'))
    const { copy, failed } = jsonIn(output)
    expect(failed, output).toBe(0)
    for (const node of cluster.nodes) {
      const file = join(cluster.localOf(node), (copy ?? '').slice(cluster.local.length))
      expect(readFileSync(file).equals(readFileSync(archive))).toBe(true)
    }
  })

  test('nodes that cannot are named, each with its reason; the others are done', async () => {
    // A file in the way on node2; on node3 somebody else could write what is deployed.
    rmSync(scratchOf('node2'), { recursive: true })
    writeFileSync(scratchOf('node2'), '')
    const cache = join(scratchOf('node3'), 'conda-deploy-0')
    mkdirSync(cache)
    chmodSync(cache, 0o777)
    try {
      const { output, state } = await batch(`${line('--root', scratch, '--json')}; echo ended $?`)
      expect(state).toBe('COMPLETED')
      expect(output).toContain('ended 1')
      const { nodes, failed } = jsonIn(output)
      const told = Object.fromEntries(nodes.map((node) => [node.node, 'message' in node ? node.message : node.status]))
      expect(told).toMatchObject({
        node1: 'deployed',
        node2: expect.stringMatching(/no local folder|cannot be used/),
        node3: expect.stringMatching(/can be written by others/),
        node4: 'deployed',
      })
      expect(failed).toBe(2)
      expect(output).toMatch(/node3 failed: .*can be written by others/)
    } finally {
      rmSync(scratchOf('node2'), { force: true })
      mkdirSync(scratchOf('node2'))
      chmodSync(scratchOf('node2'), 0o1777)
    }
    expect(strays()).toEqual([])
  })

  test.each([
    ['cancelled while it is sent', 'part', 'scancel'],
    ['cancelled while it is deployed', 'stage', 'scancel'],
    ['its program killed while it is sent', 'part', 'kill'],
    ['its program killed while it is deployed', 'stage', 'kill'],
    ['its program told to end while it is sent', 'part', 'term'],
  ] as const)('%s: nothing is left on any node', async (_, when, how) => {
    const pid = join(folder, 'pid')
    const script = `${line('--root', scratch, '-q')} & echo $! >${pid}; wait $!; echo ended $?; sleep 5`
    const isStage = (name: string): boolean => /^conda-deploy-\d+\/.*\D/.test(name) && !/\/[0-9a-f]{16}$/.test(name)
    const reached = (name: string): boolean => (when === 'part' ? name.endsWith('.part') : isStage(name))
    const isReached = (): boolean => cluster.nodes.some((node) => on(node).some(reached))
    const begin = async (): ReturnType<typeof batch> => {
      rmSync(pid, { force: true })
      clear()
      return await batch(script)
    }
    /** False: it has ended by itself. */
    const end = (): boolean => {
      if (how === 'scancel')
        return cluster.run('scancel', [cluster.run('squeue', ['-h', '-o', '%i']).stdout.trim()]).status === 0
      try {
        return process.kill(Number(readFileSync(pid, 'utf8')), how === 'kill' ? 'SIGKILL' : 'SIGTERM')
      } catch (error) {
        expect(error).toMatchObject({ code: 'ESRCH' })
        return false
      }
    }
    let going = begin()
    // On a busy machine the moment may pass between two looks, or before it is used: then again.
    for (let tries = 1; ; tries++) {
      let isOver = false
      const over = (): void => {
        isOver = true
      }
      void going.then(over, over)
      await until(`a ${when}`, 60, () => isOver || isReached())
      if (!isOver && end()) break
      expect(tries, `${when} was never seen`).toBeLessThan(5)
      await going
      going = begin()
    }
    const { output, state } = await going
    expect(state).toBe(how === 'scancel' ? 'CANCELLED' : 'COMPLETED')
    if (how !== 'scancel') expect(output).toContain(`ended ${how === 'kill' ? 137 : 143}`)
    expect(strays()).toEqual([])
    expect(cluster.stateOfNodes().filter((line) => !line.startsWith('idle'))).toEqual([])
  })

  test('a node that dies while it is sent is named, and the others are done', async () => {
    const file = join(folder, 'output')
    const script = `${line('--root', scratch, '--json')}; echo ended $?`
    cluster.run('sbatch', ['-N4', '-D', '/', '-o', file, '--wrap', script])
    await until('a part', 30, () => on('node4').some((name) => name.endsWith('.part')))
    process.kill(Number(readFileSync(join(cluster.folder, 'run/slurmd.node4.pid'), 'utf8')), 'SIGKILL')
    // The job itself does not end before Slurm gives the node up, which takes minutes.
    await until('the end', 60, () => /^ended/m.test(readFileSync(file, 'utf8')))
    const output = readFileSync(file, 'utf8')
    const { nodes, failed } = jsonIn(output)
    expect(failed, output).toBe(1)
    expect(nodes.map(({ status }) => status)).toEqual(['deployed', 'deployed', 'deployed', 'failed'])
  })
})

/** Updates by damaged archives, and of trees whose own index is damaged: done, or refused with everything as it was; nothing breaks. */
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { deploy } from '../../src/deploy/deploy.js'
import { EnvError } from '../../src/errors.js'
import { native } from '../../src/native.js'
import { mutate } from '../support/mutate.js'
import { Random } from '../support/random.js'
import { removeTree, temporaryFolder } from '../support/temp.js'
import { differences } from '../support/tree.js'
import { earlier, litterOf, newer, packed, stateOf } from '../support/update-pair.js'

const work = temporaryFolder('update-mutations')
const [old, next, damaged] = ['old', 'new', 'damaged'].map((name) => join(work, `${name}.tar.zst`)) as [
  string,
  string,
  string,
]
const folder = join(work, 'place')
const [to, origin] = [join(folder, 'env'), join(work, 'origin')]
const count = 60

describe('damage', () => {
  let before: Map<string, string>
  let after: Map<string, string>
  beforeAll(async () => {
    mkdirSync(folder)
    await packed(old, earlier)
    await packed(next, newer)
    await deploy({ archive: next, to, threads: 1 })
    after = stateOf(to)
    removeTree(to)
    await deploy({ archive: old, to, threads: 1 })
    before = stateOf(to)
    execFileSync('cp', ['-a', to, origin])
  })

  function reset(): void {
    removeTree(to)
    execFileSync('cp', ['-a', origin, to])
  }

  /** null: it was done. */
  async function refusalOf(archive: string): Promise<EnvError | null> {
    try {
      await deploy({ archive, to, update: true, threads: 1 })
      return null
    } catch (error) {
      if (error instanceof EnvError) return error
      throw error
    }
  }

  test('to an archive: the tree is as it was, or as it is to be', async () => {
    const whole = readFileSync(next)
    let refused = 0
    for (let seed = 0; seed < count; seed++) {
      const { name, bytes } = mutate(whole, new Random(seed))
      writeFileSync(damaged, bytes)
      // What has lost its end is an archive of others, which updates nothing.
      const isOurs = await native()
        .index(damaged, false)
        .catch(() => undefined)
      if (isOurs === null) continue
      reset()
      const error = await refusalOf(damaged)
      if (error !== null) refused++
      const differs = differences(stateOf(to), error === null ? after : before)
      const isDigest = (line: string): boolean => line.startsWith('.conda-deploy/ready')
      expect(
        [...differs.filter((line) => error !== null || !isDigest(line)), ...litterOf(to)],
        `${seed} ${name}`,
      ).toEqual([])
    }
    expect(refused).toBeGreaterThan(10)
  })

  test('to the index of the tree: it is refused, with all but the index as it was, or done', async () => {
    const index = join(to, '.conda-deploy/index')
    reset()
    const whole = readFileSync(index)
    let refused = 0
    for (let seed = 0; seed < count; seed++) {
      const { name, bytes } = mutate(whole, new Random(seed))
      if (bytes.equals(whole)) continue
      reset()
      chmodSync(index, 0o644)
      writeFileSync(index, bytes)
      chmodSync(index, 0o444)
      const error = await refusalOf(next)
      if (error !== null) refused++
      const isIndex = (line: string): boolean => line.startsWith('.conda-deploy/index')
      const differs = differences(stateOf(to), error === null ? after : before).filter((line) => !isIndex(line))
      expect([...differs, ...litterOf(to)], `${seed} ${name}`).toEqual([])
    }
    expect(refused).toBeGreaterThan(40)
  })
})

/**
 * Deploys damaged archives, thousands of them. What may happen: it is refused with an EnvError, or the tree is what the undamaged
 * archive gives, proven by hash, and nothing is ever left or written beside the target. Anything else is thrown, with the seed that
 * does it again.
 */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { deploy } from '../../src/deploy/deploy.js'
import { EnvError } from '../../src/errors.js'
import { native } from '../../src/native.js'
import { mutate } from './mutate.js'
import { Random } from './random.js'
import { removeTree } from './temp.js'
import { describeTree, differences } from './tree.js'

export interface Outcome {
  readonly tried: number
  readonly refused: number
  /** Deployed, and equal to what the undamaged archive gives. */
  readonly harmless: number
  /** Deployed, and not equal: only where `checked` is false. */
  readonly unchecked: number
}

export interface Campaign {
  readonly archive: Buffer
  readonly extension: string
  readonly seed: number
  readonly count: number
  /** False: the format has no checksum over contents (a plain tar), so that a changed byte in one cannot be known. */
  readonly checked: boolean
}

/** Memory, where there is some: what is tested is not the disk. */
const base = existsSync('/dev/shm') ? '/dev/shm' : tmpdir()

export async function campaign({ archive, extension, seed, count, checked }: Campaign): Promise<Outcome> {
  const work = mkdtempSync(join(base, 'conda-deploy-mutations-'))
  try {
    const file = join(work, `archive.${extension}`)
    const place = join(work, 'place')
    mkdirSync(place)
    const tree = async (bytes: Buffer): Promise<Map<string, string>> => {
      writeFileSync(file, bytes)
      const options = { archive: file, to: join(place, 'env'), readOnly: false, threads: 1 }
      const { prefix, foreign } = await deploy(options)
      const told = describeTree(prefix, ['.conda-deploy'])
      // A directory that follows only from names has no time of its own.
      if (foreign !== undefined)
        for (const [path, line] of told) if (line.startsWith('directory')) told.set(path, line.slice(0, 13))
      removeTree(prefix)
      return told
    }
    const expected = await tree(archive)
    const outcome = { tried: 0, refused: 0, harmless: 0, unchecked: 0 }
    for (; outcome.tried < count; outcome.tried++) {
      const random = new Random(seed + outcome.tried)
      const { name, bytes } = await choose(archive, random, file)
      const what = `mutation ${seed + outcome.tried} of ${extension} (${name})`
      const got = await tree(bytes).catch((error: unknown) => {
        if (error instanceof EnvError) return null
        throw new Error(`${what} is not refused but breaks: ${String(error)}`, { cause: error })
      })
      if (got === null) outcome.refused++
      else {
        const wrong = differences(expected, got)
        if (wrong.length === 0) outcome.harmless++
        else if (!checked) outcome.unchecked++
        else throw new Error(`${what} was deployed with a wrong tree: ${wrong.join('; ')}`)
      }
      const left = [
        ...readdirSync(place),
        ...readdirSync(work).filter((one) => one !== 'place' && !one.startsWith('archive')),
      ]
      if (left.length > 0) throw new Error(`${what} left ${left.join(', ')}`)
    }
    return outcome
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

/**
 * A mutation. What makes an archive of ours one of somebody else's (its end is gone) is read in a thread of its own, which takes thirty
 * times as long: of those only every tenth is tried.
 */
async function choose(archive: Buffer, random: Random, file: string): Promise<ReturnType<typeof mutate>> {
  for (;;) {
    const mutation = mutate(archive, random)
    if (!file.endsWith('.tar.zst') || random.below(10) === 0) return mutation
    writeFileSync(file, mutation.bytes)
    if (
      (await native()
        .index(file, false)
        .catch(() => undefined)) !== null
    )
      return mutation
  }
}

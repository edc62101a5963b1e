/** Another process exchanges directories for links while a deployment writes into them. Nothing is ever written outside. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { deploy } from '../../src/deploy/deploy.js'
import { EnvError } from '../../src/errors.js'
import { draftOf, forge, leastMembers } from '../support/forge.js'
import { type RawMember, rawTar } from '../support/raw-tar.js'
import { temporaryFolder } from '../support/temp.js'
import { makeVictim, whileSwapped } from '../support/victim.js'

const work = temporaryFolder('races')

/** Folders in folders, so that there is always one to be swapped before the next file. */
const many: readonly RawMember[] = Array.from({ length: 40 }, (_, i): RawMember[] => [
  { name: `lib/d${i}/`, type: '5', mode: 0o755 },
  { name: `lib/d${i}/e/`, type: '5', mode: 0o755 },
  ...Array.from({ length: 12 }, (_, k) => ({ name: `lib/d${i}/e/file${k}`, data: `${i} ${k}\n`.repeat(50) })),
]).flat()

const ours = join(work, 'a.tar.zst')
writeFileSync(ours, forge(draftOf([...leastMembers, ...many], 100)))
const theirs = join(work, 'a.tar.gz')
const record = { name: 'conda-meta/a-1-0.json', data: '{"name": "a", "version": "1", "files": []}' }
writeFileSync(theirs, gzipSync(rawTar([record, ...leastMembers, ...many])))

async function race(archive: string, label: string, pattern: string, depth: number, rounds: number): Promise<void> {
  const place = join(work, label)
  mkdirSync(place)
  const victim = makeVictim(join(work, `${label}-victim`))
  const outcomes = new Map<string, number>()
  const swap = { folder: place, depth, pattern, victim: victim.folder }
  await whileSwapped(swap, async () => {
    for (let i = 0; i < rounds; i++) {
      const to = join(place, `env${i}`)
      const outcome = await deploy({ archive, to, readOnly: false, threads: 2 }).then(
        ({ method }) => method,
        (error: unknown) => {
          if (error instanceof EnvError) return error.code
          throw error
        },
      )
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
      victim.intact()
    }
  })
  victim.intact()
  // A race in which nothing was ever swapped in time shows nothing.
  expect([...outcomes.keys()].some((outcome) => outcome !== 'deployed')).toBe(true)
}

test('directories of the tree, with an archive of ours', () =>
  race(ours, 'ours', '/\\.env\\d+\\.\\d+\\.stage/lib(/d\\d+)?(/e)?$', 5, 25))
test('directories of the tree, with an archive of others', () =>
  race(theirs, 'theirs', '/\\.env\\d+\\.\\d+\\.stage/lib(/d\\d+)?(/e)?$', 5, 8))

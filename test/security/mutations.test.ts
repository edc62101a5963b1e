/** Damaged archives, a few hundred of them; test/faults/mutations.test.ts tries ten thousand. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { campaign } from '../support/campaign.js'
import { foreignTar, foreignTarGz, writeOurs } from '../support/mutation-sample.js'
import { temporaryFolder } from '../support/temp.js'

const work = temporaryFolder('mutations')

test('case 43: a damaged archive of ours is refused, or gives the same tree', async () => {
  const path = join(work, 'a.tar.zst')
  await writeOurs(path, work)
  const archive = readFileSync(path)
  const outcome = await campaign({ archive, extension: 'tar.zst', seed: 1_000_000, count: 400, checked: true })
  expect(outcome.refused + outcome.harmless).toBe(400)
  expect(outcome.refused).toBeGreaterThan(300)
})

test('case 43: so is a damaged tar.gz of somebody else', async () => {
  const outcome = await campaign({
    archive: foreignTarGz,
    extension: 'tar.gz',
    seed: 2_000_000,
    count: 25,
    checked: true,
  })
  expect(outcome.refused + outcome.harmless).toBe(25)
})

test('a damaged tar is refused or deployed, and nothing breaks', async () => {
  const outcome = await campaign({ archive: foreignTar, extension: 'tar', seed: 3_000_000, count: 25, checked: false })
  expect(outcome.tried).toBe(25)
})

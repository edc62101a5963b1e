/** The mutation campaign at full length: 10,000 damaged archives of ours, and hundreds of other people's. One line says what became of them. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { campaign, type Outcome } from '../support/campaign.js'
import { foreignTar, foreignTarGz, writeOurs } from '../support/mutation-sample.js'

const number = (value: number): string => value.toLocaleString('en-US')

function tell(what: string, { tried, refused, harmless, unchecked }: Outcome): void {
  const rest = unchecked > 0 ? `${number(unchecked)} that the format has no checksum for` : '0 wrong'
  process.stdout.write(
    `${what}: ${number(tried)} tried, ${number(refused)} refused, ${number(harmless)} harmless, ${rest}\n`,
  )
}

test('case 43: 10,000 mutations of an archive of ours: refused, or the same tree', { timeout: 300_000 }, async () => {
  const work = mkdtempSync(join(tmpdir(), 'conda-deploy-mutations-'))
  try {
    const path = join(work, 'a.tar.zst')
    await writeOurs(path, work)
    const archive = readFileSync(path)
    const outcome = await campaign({ archive, extension: 'tar.zst', seed: 0, count: 10_000, checked: true })
    tell('mutations', outcome)
    expect(outcome.refused + outcome.harmless).toBe(10_000)
  } finally {
    rmSync(work, { recursive: true })
  }
})

test('300 mutations of a tar.gz, 200 of a tar', { timeout: 300_000 }, async () => {
  const gz = await campaign({ archive: foreignTarGz, extension: 'tar.gz', seed: 0, count: 300, checked: true })
  tell('mutations of tar.gz', gz)
  expect(gz.refused + gz.harmless).toBe(300)
  const tar = await campaign({ archive: foreignTar, extension: 'tar', seed: 0, count: 200, checked: false })
  tell('mutations of tar', tar)
  expect(tar.tried).toBe(200)
})

/** case 43: archives of every format, cut at every kind of place: refused, and nothing is left. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { beforeAll, describe, expect, test } from 'vitest'
import { deploy } from '../../src/deploy/deploy.js'
import { verify } from '../../src/deploy/verify.js'
import { removeTree, temporaryFolder } from '../support/temp.js'
import { type Fixture, makeFixture, namesIn } from './fixture.js'

const work = temporaryFolder('faults')

let fixture: Fixture
beforeAll(async () => {
  fixture = await makeFixture(work, 60, 9000)
})

/** Offsets of the zstd frames of an archive of ours, skippable ones too: where frames, table, summary and seek table begin. */
function frameBorders(bytes: Buffer): number[] {
  const found: number[] = []
  for (let at = 0; at + 4 <= bytes.length; at++) {
    const magic = bytes.readUInt32LE(at)
    if (magic === 0xfd2fb528 || (magic & 0xfffffff0) === 0x184d2a50) found.push(at)
  }
  return found
}

/** The start, the end, in between, and both sides of what `borders` names. */
function cuts(length: number, borders: readonly number[]): number[] {
  const spread = Array.from({ length: 24 }, (_, i) => Math.floor((length * (i + 1)) / 25))
  const near = borders.flatMap((at) => [at - 1, at, at + 1, at + 4, at + 8, at + 9])
  const ends = [0, 1, 2, 3, 4, 8, 17, 512, 513, length - 1, length - 2, length - 4, length - 8, length - 9, length - 17]
  return [...new Set([...ends, ...near, ...spread])].filter((at) => at >= 0 && at < length).sort((a, b) => a - b)
}

async function tryCuts(
  name: string,
  suffix: string,
  bytes: Buffer,
  borders: readonly number[],
  isSame: (cut: number) => boolean,
) {
  const at = join(fixture.folder, `cut-${name}`)
  const archive = join(fixture.folder, `cut-${name}${suffix}`)
  const points = cuts(bytes.length, borders)
  const wrong: string[] = []
  let same = 0
  for (const cut of points) {
    writeFileSync(archive, bytes.subarray(0, cut))
    mkdirSync(at)
    const done = await deploy({ archive, to: join(at, 'env') }).catch(
      (error: unknown) => error as { code?: string; message: string },
    )
    if ('code' in done || !('prefix' in done)) {
      if (!['ARCHIVE_CORRUPT', 'ARCHIVE_UNKNOWN', 'NOT_AN_ENV', 'ENV_DAMAGED'].includes(String(done.code)))
        wrong.push(`${cut} of ${bytes.length}: ${done.code} ${'message' in done ? done.message : ''}`)
      if (namesIn(at).length > 0) wrong.push(`${cut} of ${bytes.length}: leaves ${namesIn(at)}`)
    } else {
      same++
      if (!isSame(cut)) wrong.push(`${cut} of ${bytes.length}: deployed`)
    }
    removeTree(at)
  }
  console.log(
    `truncation, ${name}: ${points.length} places, ${points.length - same} refused, ${same} complete anyway, ${wrong.length} wrong`,
  )
  expect(wrong).toEqual([])
  return points
}

test('case 43: our own, cut in a header, a frame, at frame borders, in the table, the summary and the seek table', async () => {
  const bytes = readFileSync(fixture.archive)
  const borders = frameBorders(bytes)
  expect(borders.length).toBeGreaterThan(3)
  // Cut where a frame begins behind the last one of the tar, it is a whole .tar.zst of no maker in particular, and read as one.
  const isPlainTar = (cut: number): boolean => borders.includes(cut) && bytes[cut] !== 0x28
  const points = await tryCuts('ours', '.tar.zst', bytes, borders, isPlainTar)
  const archive = join(fixture.folder, 'verify-cut.tar.zst')
  for (const cut of points) {
    writeFileSync(archive, bytes.subarray(0, cut))
    const found = await verify(archive).catch((error: unknown) => error as { code: string })
    expect('code' in found || found.faults.length > 0, `verify of ${cut} of ${bytes.length}`).toBe(true)
  }
})

const compressors = [
  ['tar', '.tar', null],
  ['tar.gz', '.tar.gz', ['gzip', '-nc']],
  ['tar.zst', '.tar.zst', ['zstd', '-qc']],
  ['tar.bz2', '.tar.bz2', ['bzip2', '-c']],
  ['tar.xz', '.tar.xz', ['xz', '-c']],
] as const

describe.each(compressors)("case 43: conda-pack's %s", (name, suffix, command) => {
  test('cut anywhere is refused', async () => {
    const tar = gunzipSync(readFileSync(fixture.foreign))
    let bytes = tar
    try {
      if (command !== null) bytes = execFileSync(command[0], command.slice(1), { input: tar, maxBuffer: 1 << 30 })
    } catch (error) {
      console.log(`skipped: truncation, ${name}: ${(error as Error).message}`)
      return
    }
    const whole = join(fixture.folder, `whole${suffix}`)
    const prefix = join(fixture.folder, `whole-${name}`)
    writeFileSync(whole, bytes)
    const done = await deploy({ archive: whole, to: prefix }).catch(
      (error: unknown) => error as { code: string; message: string },
    )
    if ('code' in done && done.code === 'UNSUPPORTED') {
      console.log(`skipped: truncation, ${name}: ${done.message}`)
      return
    }
    expect(done).toMatchObject({ prefix })
    const borders = name === 'tar' ? [512, 1024, bytes.length - 512, bytes.length - 1024] : []
    await tryCuts(name, suffix, bytes, borders, () => false)
  })
})

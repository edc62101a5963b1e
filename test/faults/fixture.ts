/** What faults are tried on: an environment, our archive of it, and what conda-pack makes of it; made once a test file. */
import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { condaPackTar } from '../support/conda-pack-archive.js'
import { type FakeEnvironment, type FakeFile, makeEnvironment, python } from '../support/make-env.js'
import { runCli } from '../support/run-cli.js'
import { describeTree } from '../support/tree.js'

export interface Fixture {
  /** Everything lies beneath it. */
  readonly folder: string
  /** The environment. */
  readonly prefix: string
  readonly archive: string
  readonly foreign: string
  /** What the environment looked like when it had been made. */
  readonly before: Map<string, string>
}

/** Bytes that do not shrink, the same at every run. */
export function noise(bytes: number, seed: string): string {
  let text = ''
  for (let i = 0; text.length < bytes; i++) text += createHash('sha256').update(`${seed} ${i}`).digest('base64')
  return text.slice(0, bytes)
}

/** `files`: of the one larger package; a third of them name the prefix. */
export function environmentOf(files: number, bytes: number): FakeEnvironment {
  const many = Array.from({ length: files }, (_, i): FakeFile => {
    const path = `share/many/d${i % 7}/f${i}`
    return { path, text: `${i % 3 === 0 ? 'home = {prefix}\n' : ''}${noise(bytes, path)}\n` }
  })
  const tool = '#!/bin/sh\n# {prefix}/lib\nprintf "%s\\n" "$(dirname "$(dirname "$0")")" "{prefix}"\n'
  return {
    packages: [
      python,
      {
        name: 'tool',
        files: [
          { path: 'bin/tool', text: tool, executable: true },
          { path: 'bin/t', link: 'tool' },
        ],
      },
      { name: 'many', files: many },
    ],
    files: [{ path: 'notes.txt', text: 'unmanaged, at {prefix}\n' }],
  }
}

/** Fills `folder`, which is the caller's: a hook could not have it removed. */
export async function makeFixture(folder: string, files = 45, bytes = 2000): Promise<Fixture> {
  const prefix = join(folder, 'envs/sample')
  const [archive, foreign] = [join(folder, 'sample.tar.zst'), join(folder, 'sample.tar.gz')]
  const what = environmentOf(files, bytes)
  mkdirSync(prefix, { recursive: true })
  makeEnvironment(prefix, what)
  const packed = await runCli(['pack', '-p', prefix, '-o', archive, '-q'])
  if (packed.status !== 0) throw new Error(packed.stderr)
  writeFileSync(foreign, gzipSync(await condaPackTar(prefix, what)))
  return { folder, prefix, archive, foreign, before: describeTree(prefix) }
}

/** Names in a folder; none where there is no folder. */
export function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).sort()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

/** Runs `work` for each item, a few at a time; each of the `lanes` works on one item after another. */
export async function spread<T>(
  items: readonly T[],
  lanes: number,
  work: (item: T, lane: number) => Promise<void>,
): Promise<void> {
  const waiting = items.values()
  const lane = async (_: unknown, number: number): Promise<void> => {
    for (const item of waiting) await work(item, number)
  }
  await Promise.all(Array.from({ length: lanes }, lane))
}

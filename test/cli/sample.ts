/** What the tests of the CLI work on: a small environment, its archive, and folders to deploy into. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { type FakeEnvironment, type FakeFile, makeEnvironment, python } from '../support/make-env.js'
import { type CliOptions, type CliResult, runCli } from '../support/run-cli.js'
import { temporaryFolder } from '../support/temp.js'

export interface Sample {
  /** Everything lies beneath it. */
  readonly folder: string
  readonly prefix: string
  readonly archive: string
}

/** Answers with the status that it is told, and says what it sees. */
const tool: FakeFile = {
  path: 'bin/tool',
  text: '#!/bin/sh\n# {prefix}/lib\nprintf "%s\\n" "prefix=$CONDA_PREFIX" "args=$*"\nexit $TOOL_STATUS\n',
  executable: true,
}

const environment: FakeEnvironment = {
  packages: [python, { name: 'tool', files: [tool, { path: 'share/tool/home', text: 'home is {prefix}\n' }] }],
  files: [{ path: 'notes.txt', text: 'unmanaged\n' }],
}

export function makeSample(): Sample {
  const folder = temporaryFolder('cli')
  const prefix = join(folder, 'envs/sample')
  mkdirSync(prefix, { recursive: true })
  makeEnvironment(prefix, environment)
  return { folder, prefix, archive: join(folder, 'sample.tar.zst') }
}

export async function packed(sample: Sample): Promise<void> {
  const done = await runCli(['pack', '-p', sample.prefix, '-o', sample.archive, '-q'])
  expect(done).toEqual({ status: 0, signal: null, stdout: `${sample.archive}\n`, stderr: '' })
}

/** A run that must succeed. */
export async function must(args: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  const done = await runCli(args, options)
  expect(done.status, `${args.join(' ')}\n${done.stderr}`).toBe(0)
  return done
}

/** Attempts with hostile archives: each in a folder of its own beside a canary, so that whatever is touched or left is seen. */
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { type DeployOptions, type DeployResult, deploy } from '../../src/deploy/deploy.js'
import { EnvError } from '../../src/errors.js'
import { native, runJob } from '../../src/native.js'
import { temporaryFolder } from './temp.js'

export interface Attempt {
  /** The folder that the target was to stand in. */
  readonly at: string
  readonly result: DeployResult | null
  /** The code of the refusal; empty: there was none. */
  readonly code: string
  readonly error: EnvError | null
}

export class Range {
  readonly work: string
  readonly canary: string
  private count = 0

  constructor(label: string) {
    this.work = temporaryFolder(label)
    this.canary = join(this.work, 'canary')
    writeFileSync(this.canary, 'untouched', { mode: 0o600 })
  }

  /** A file with these bytes. */
  archive(bytes: Uint8Array, extension = 'tar.zst'): string {
    const path = join(this.work, `${++this.count}.${extension}`)
    writeFileSync(path, bytes)
    return path
  }

  /** Deploys; any error that is no EnvError is thrown on: it would be a bug, not a refusal. */
  async deploy(bytes: Uint8Array, options: Partial<DeployOptions> = {}, extension?: string): Promise<Attempt> {
    const archive = this.archive(bytes, extension)
    const at = join(this.work, `at${this.count}`)
    mkdirSync(at)
    try {
      const result = await deploy({ archive, to: join(at, 'env'), readOnly: false, threads: 2, ...options })
      return { at, result, code: '', error: null }
    } catch (error) {
      if (!(error instanceof EnvError)) throw error
      return { at, result: null, code: error.code, error }
    } finally {
      expect(readFileSync(this.canary, 'utf8')).toBe('untouched')
      expect(statSync(this.canary)).toMatchObject({ nlink: 1, size: 9 })
      expect(statSync(this.canary).mode & 0o7777).toBe(0o600)
    }
  }

  /** Refused with this code, with nothing left. */
  async refused(bytes: Uint8Array, code: string, options: Partial<DeployOptions> = {}): Promise<EnvError> {
    const { at, code: got, error } = await this.deploy(bytes, options)
    expect(got).toBe(code)
    expect(readdirSync(at)).toEqual([])
    return error as EnvError
  }

  /** What `verify ARCHIVE` says: kinds and paths of its faults, or the code of its refusal. */
  async verify(bytes: Uint8Array): Promise<string[]> {
    const index = this.archive(bytes)
    try {
      const { faults } = await runJob((counters) => native().verify({ root: null, index, threads: 2 }, counters))
      return faults.map(({ kind, path }) => `${kind} ${path}`)
    } catch (error) {
      if (!(error instanceof EnvError)) throw error
      return [error.code]
    }
  }
}

/** Contents that are made before they can be written. Beyond what fits in memory they wait in a file that has no name, beside the archive. */
import { closeSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fromSystem } from '../errors.js'
import type { PackEntry } from '../native.js'
import { ownedName } from '../tree/owned.js'
import { partOf } from './output.js'

/** Bytes in memory: the records of 70,000 files. */
const roomy = 32 << 20

export class Spool {
  private readonly path: string
  private file: number | null = null
  private size = 0
  private kept = 0

  /** `output`: of the archive; null: a stream. */
  constructor(output: string | null) {
    this.path =
      output === null ? join(tmpdir(), `conda-deploy-${ownedName()}`) : partOf(join(dirname(output), 'records'))
  }

  /** The file, for `seal`; none: everything is in memory. */
  get descriptor(): { readonly spool?: number } {
    return this.file === null ? {} : { spool: this.file }
  }

  /** The entry with its content, or with the place where that waits. Throws NO_SPACE, IO, PERMISSION. */
  keep(entry: PackEntry): PackEntry {
    const { data, ...rest } = entry
    if (data === undefined) return entry
    this.kept += data.length
    if (this.kept <= roomy) return entry
    const spooled = this.size
    try {
      this.file ??= this.open()
      for (let done = 0; done < data.length; ) done += writeSync(this.file, data, done)
    } catch (error) {
      throw fromSystem(error, 'cannot write', this.path)
    }
    this.size += data.length
    return { ...rest, spooled }
  }

  close(): void {
    if (this.file !== null) closeSync(this.file)
    this.file = null
  }

  private open(): number {
    const file = openSync(this.path, 'wx+', 0o600)
    rmSync(this.path)
    return file
  }
}

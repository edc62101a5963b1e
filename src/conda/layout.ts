/**
 * An environment that stands nowhere: what reading its folder would have found, and where the content of every file comes from. The verb
 * `install` lays one out from packages, `pack` archives it as if it were there; so an archive is made with no environment on disk.
 */
import type { Scanned } from '../native.js'
import type { Environment } from './environment.js'

export interface Layout {
  /** `prefix`: what stands for the prefix in the texts that are made for it; no file of a package names it. */
  readonly environment: Environment
  /** What a scan would find, ascending by path. Files have an origin, or their content; records are in `environment`. */
  readonly nodes: readonly Scanned[]
  /** How it came to be. */
  readonly resolved: Resolved
  readonly warnings: readonly string[]
}

/** A package as results tell of it. */
export interface ChosenPackage {
  readonly name: string
  readonly version: string
  readonly build: string
  readonly channel: string
  readonly subdir: string
  readonly url: string
  readonly size: number | null
}

export interface Resolved {
  /** In the order of linking. */
  readonly packages: readonly ChosenPackage[]
  readonly downloaded: number
  readonly downloadedBytes: number
  readonly unpacked: number
  /** Python files that were compiled now: what the package cache has compiled is taken from there. */
  readonly compiled: number
  readonly seconds: {
    readonly [phase in 'solve' | 'fetch' | 'unpack' | 'compile' | 'layout' | 'total']: number
  }
}

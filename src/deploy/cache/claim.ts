/**
 * A deployment of a cache is claimed before it is adopted or published, so that no eviction comes between. Who evicts holds the lock of the
 * deployment, and looks for leases after the lock's file is there; who adopts looks for that file after its lease is there: one of the two
 * sees the other.
 */
import { existsSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { EnvError, fromSystem } from '../../errors.js'
import { lockOf } from '../publish.js'
import { markerOf } from '../ready.js'
import { type CacheFolder, makeCacheFolder, type OpenCache, openCache, privateCache } from './folder.js'
import { addLease, dropFolder, dropLease, hasLease, sharedEntry } from './lease.js'

/** Milliseconds that a user waits while root works on a shared deployment: removing one's name takes fewer. */
const longestWait = 1000
const pause = 10

/** Whose leases a deployment gets. */
export interface Holders {
  readonly all: readonly string[]
  /** The caller named one: a lease that cannot be had is an error then, and otherwise a warning. */
  readonly asked: boolean
  readonly warn: (message: string) => void
}

/** The leases of one deployment. */
export class Claim {
  readonly cache: CacheFolder
  readonly entry: string
  readonly #holders: Holders
  /** Where they are kept: a user cannot write beside a shared deployment. */
  readonly #keeper: CacheFolder
  readonly #name: string
  /** Leases that were taken, and those of them that nobody had before. */
  readonly #held = new Set<string>()
  readonly #new = new Set<string>()
  #open: OpenCache | null = null

  constructor(cache: CacheFolder, entry: string, holders: Holders) {
    this.cache = cache
    this.entry = entry
    this.#holders = holders
    this.#keeper = this.isOwn ? cache : privateCache(cache.root)
    this.#name = this.isOwn ? entry : sharedEntry(entry)
  }

  get isOwn(): boolean {
    return this.cache.owner === (process.geteuid?.() ?? 0)
  }

  get isEmpty(): boolean {
    return this.#holders.all.length === 0
  }

  /** Takes the leases, or renews them. Throws PERMISSION, NO_SPACE, IO, where they were asked for. */
  async take(): Promise<void> {
    const { all, asked, warn } = this.#holders
    try {
      for (const holder of all) await this.add(holder)
    } catch (error) {
      if (asked || !(error instanceof EnvError)) throw error
      warn(`no lease keeps ${join(this.cache.path, this.entry)} from being removed: ${error.message}`)
    }
  }

  /** A lease for one holder more. */
  async add(holder: string): Promise<void> {
    if (!this.isOwn) await makeCacheFolder(this.#keeper.root)
    const isNew = this.#inside((folder) => addLease(folder, this.#name, holder))
    if (isNew) this.#new.add(holder)
    this.#held.add(holder)
  }

  drop(holder: string): void {
    this.#inside((folder) => dropLease(folder, this.#name, holder))
    this.#new.delete(holder)
    this.#held.delete(holder)
  }

  /**
   * Gives back what this claim took: nothing is there to be kept. Under the lock of the deployment only: another process of the same job may
   * count on the lease, which looks for it again once nobody has the lock.
   */
  giveBack(): void {
    for (const holder of this.#new) this.drop(holder)
    this.tidy()
  }

  /** Removes the folder of the leases where none is left. */
  tidy(): void {
    this.#inside(dropFolder)
  }

  /** Are all leases there? */
  get isHeld(): boolean {
    return this.#inside((folder) => [...this.#held].every((holder) => hasLease(folder, this.#name, holder)))
  }

  /** Keeps the folder open for several calls: for root every way there is a walk. */
  async during<T>(use: () => Promise<T>): Promise<T> {
    // That of a user on a shared deployment may be absent, and is made when a lease is taken.
    this.#open = this.isOwn ? openCache(this.#keeper) : null
    try {
      return await use()
    } finally {
      this.#open?.letGo()
      this.#open = null
    }
  }

  #inside<T>(use: (folder: string) => T): T {
    if (this.#open !== null) return use(this.#open.path)
    const held = openCache(this.#keeper)
    if (held === null) throw new EnvError('IO', `${this.#keeper.path} was removed`, { path: this.#keeper.path })
    try {
      return use(held.path)
    } finally {
      held.letGo()
    }
  }

  /** Notes that it was adopted now, for those who evict what was not for long. */
  touch(): void {
    if (!this.isOwn) return // Its time of adoption is that of the lease.
    const now = new Date()
    this.#inside((folder) => {
      const marker = markerOf(join(folder, this.entry))
      try {
        utimesSync(marker, now, now)
      } catch (error) {
        throw fromSystem(error, 'cannot set the time of', marker)
      }
    })
  }
}

/** Claims a deployment that was seen to stand; false: it is being removed, or has been. `stands`: looks again. */
export async function secure(claim: Claim, stands: () => Promise<boolean>): Promise<boolean> {
  if (!claim.isEmpty) {
    await claim.take()
    const lock = lockOf(join(claim.cache.path, claim.entry))
    for (let waited = 0; !claim.isOwn && existsSync(lock) && waited < longestWait; waited += pause) await sleep(pause)
    if (existsSync(lock) || !(await stands()) || !claim.isHeld) return false
  }
  return true
}

/** As `secure`, and notes the time. */
export async function adopt(claim: Claim, stands: () => Promise<boolean>): Promise<boolean> {
  return await claim.during(async () => {
    if (!(await secure(claim, stands))) return false
    claim.touch()
    return true
  })
}

/**
 * Changing a tree so that it can be taken back: what comes is made ready in a stage inside of it, then a journal is written, then names change
 * places (native `change`), then the journal becomes a note that it is done. Who finds the folder later, under the lock, takes the change back
 * or ends it. Layout of the folder: `new/` what comes, `old/` what went, `journal.json`, or `done.json`.
 */
import { type FileHandle, mkdir, open, readdir, readFile, rename, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { EnvError, fromSystem } from '../errors.js'
import type { Changed, Step } from '../install-jobs.js'
import { native, runJob } from '../native.js'
import { removeFolder } from './folders.js'
import { ifThere } from './if-there.js'
import { journalName } from './journal-name.js'
import type { Steps } from './steps.js'

/** What an interrupted change had come to, and what was made of it. */
export type Recovered = 'nothing' | 'cleared' | 'taken back' | 'finished'

const version = 1

interface Journal extends Pick<Steps, 'groups' | 'tidy'> {
  readonly version: typeof version
}

interface Committing {
  readonly threads: number
  readonly signal: AbortSignal | undefined
  readonly warn: (message: string) => void
  /** Looks at the tree when all is done that can be taken back; what it throws takes it back. */
  readonly check?: (() => Promise<void>) | undefined
}

export class Change {
  /** The tree, by its true path. */
  readonly root: string
  readonly #folder: string
  readonly #remedy: string
  #stuck = false

  /** `folder`: the name of its folder, beneath the root. `remedy`: the command that takes back what was interrupted. */
  constructor(root: string, folder: string, remedy: string) {
    this.root = root
    this.#folder = join(root, folder)
    this.#remedy = remedy
  }

  /** Where what comes is made ready. */
  get stage(): string {
    return join(this.#folder, 'new')
  }

  async begin(): Promise<void> {
    const make = async (folder: string): Promise<void> => {
      await mkdir(folder).catch((error: unknown) => {
        throw fromSystem(error, 'cannot make', folder)
      })
    }
    await make(this.#folder)
    try {
      await make(this.stage)
      await make(join(this.#folder, 'old'))
    } catch (error) {
      await this.end({ threads: 1 })
      throw error
    }
  }

  /** Removes the stage with all that is left in it, unless it is needed to put things right. */
  async end({ threads }: Pick<Committing, 'threads'>): Promise<void> {
    if (this.#stuck) return
    await removeFolder(this.#folder, threads)
  }

  /**
   * Does the steps. Throws what failed when everything is as it was before; when that could not be had either, ENV_DAMAGED, and the journal
   * stays.
   */
  async commit({ groups, tidy }: Pick<Steps, 'groups' | 'tidy'>, committing: Committing): Promise<Changed> {
    const { threads, signal, warn, check } = committing
    await this.#write({ version, groups, tidy })
    let changed: Changed
    try {
      changed = await runJob((counters) => native().change(this.#job(groups, threads), counters), { signal })
      await check?.()
      await this.#rename(journalName, 'done.json')
    } catch (error) {
      await this.#takeBack(groups, threads, error)
      throw error
    }
    try {
      await this.#sync()
      await this.#finish(tidy, threads)
    } catch (error) {
      // The change is done, whatever becomes of the rest.
      warn(`${this.#folder} is to be cleared away, and was not: ${(error as Error).message}`)
    }
    return changed
  }

  /** Under the lock: puts right what a process left that died. Throws ENV_DAMAGED, PERMISSION, NO_SPACE, IO. */
  async recover(threads: number): Promise<Recovered> {
    const names = await ifThere(readdir(this.#folder), this.#folder)
    if (names === null) return 'nothing'
    if (names.includes(journalName)) {
      const { groups } = await this.#read(journalName)
      await this.#takeBack(groups, threads, null)
      await this.end({ threads })
      return 'taken back'
    }
    if (names.includes('done.json')) {
      await this.#finish((await this.#read('done.json')).tidy, threads)
      return 'finished'
    }
    await this.end({ threads })
    return 'cleared'
  }

  #job(groups: readonly (readonly Step[])[], threads: number, back = false) {
    const [root, fresh, aside] = [this.root, this.stage, join(this.#folder, 'old')]
    return { root, fresh, aside, groups, back, threads }
  }

  async #takeBack(groups: Journal['groups'], threads: number, cause: unknown): Promise<void> {
    try {
      await runJob((counters) => native().change(this.#job(groups, threads, true), counters))
      await unlink(join(this.#folder, journalName))
    } catch (error) {
      this.#stuck = true
      const why = cause === null ? '' : `${(cause as Error).message}; `
      const message = `${this.root} is in the midst of a change that cannot be taken back: ${why}${(error as Error).message}`
      const hint = `put that right, then: ${this.#remedy}`
      throw new EnvError('ENV_DAMAGED', message, { path: this.root, hint, cause: error })
    }
  }

  async #finish(tidy: readonly Step[], threads: number): Promise<void> {
    await runJob((counters) => native().change(this.#job([tidy], threads), counters))
    await this.end({ threads })
  }

  async #write(journal: Journal): Promise<void> {
    const part = join(this.#folder, 'journal.part')
    let file: FileHandle | undefined
    try {
      file = await open(part, 'wx')
      await file.writeFile(JSON.stringify(journal))
      await file.sync()
    } catch (error) {
      throw fromSystem(error, 'cannot write', part)
    } finally {
      await file?.close()
    }
    await this.#rename('journal.part', journalName)
    await this.#sync()
  }

  async #rename(from: string, to: string): Promise<void> {
    await rename(join(this.#folder, from), join(this.#folder, to)).catch((error: unknown) => {
      throw fromSystem(error, 'cannot write', join(this.#folder, to))
    })
  }

  /** Makes names last, so that a machine that loses power remembers nothing done without what it was noted by. */
  async #sync(): Promise<void> {
    try {
      const folder = await open(this.#folder)
      await folder.sync().finally(() => folder.close())
    } catch (error) {
      throw fromSystem(error, 'cannot write', this.#folder)
    }
  }

  async #read(name: string): Promise<Journal> {
    const file = join(this.#folder, name)
    let value: Partial<Journal>
    try {
      value = JSON.parse(await readFile(file, 'utf8')) as Partial<Journal>
    } catch (error) {
      if (error instanceof SyntaxError) throw damaged(file, error.message)
      throw fromSystem(error, 'cannot read', file)
    }
    if (value.version === version && Array.isArray(value.groups) && Array.isArray(value.tidy)) return value as Journal
    throw damaged(file, `expected a journal of version ${version}`)
  }
}

const damaged = (path: string, what: string): EnvError =>
  new EnvError('ENV_DAMAGED', `${path}: ${what}`, {
    path,
    hint: 'a newer conda-deploy may have written it: repair the environment with that one',
  })

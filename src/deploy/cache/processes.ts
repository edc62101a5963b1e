/**
 * What the processes of the node use of its caches, by /proc: programs, mapped files, open files, current and root directories, mounts. A
 * deployment is told by the end of its path (`conda-deploy-<uid>/<entry>`): in other mount namespaces the way there has other names.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { jobHolder } from './holder.js'

/** Under its own name, or that of a stage which it has while it is removed. */
const pattern = /\/(conda-deploy-(?:\d+|shared))\/\.?([0-9a-f]{16}(?:-w)?)(?:\.\d+\.stage)?(?=[/\s]|$)/g
/** Ticks in a second, as /proc tells times on every Linux. */
const ticks = 100

/** A process that could not be looked into. */
interface Closed {
  readonly number: number
  readonly user: number
  readonly name: string
  /** Milliseconds since 1970. */
  readonly start: number
}

/** The processes at one moment. */
export class Processes {
  /** Deployments in use, by the ends of their paths: by which process, and how. */
  readonly #used = new Map<string, string>()
  readonly #closed: Closed[] = []
  readonly #namespaces = new Set<string>()
  readonly #jobs: { readonly user: number; readonly holder: string | null }[] = []
  readonly #canLook: boolean

  constructor() {
    const numbers = (tell(() => readdirSync('/proc')) ?? []).filter((name) => /^\d+$/.test(name))
    this.#canLook = numbers.length > 0
    for (const number of numbers) this.#look(Number(number))
  }

  /** By what a deployment is used, in words; null: by nothing. `created`: when it was published, in milliseconds since 1970. */
  userOf(cache: { readonly name: string; readonly owner: number }, entry: string, created: number): string | null {
    if (!this.#canLook) return 'this system does not tell what processes use'
    const used = this.#used.get(`${cache.name}/${entry}`)
    if (used !== undefined) return used
    // Nobody else can enter a private cache but root, whose processes are not held against it. What runs longer than the deployment
    // stands did not begin in it: the helpers of every login, which may not be looked into, would keep everything.
    const own = process.geteuid?.() ?? 0
    if (own !== 0 && own !== cache.owner) return null // Not for this user to remove: what is certain is enough.
    const closed = this.#closed.find(
      ({ user, start }) => (cache.owner === 0 || user === cache.owner) && start >= created - 1000,
    )
    return closed === undefined ? null : `maybe process ${closed.number} (${closed.name}), which may not be looked into`
  }

  /** May a process of the user belong to the job? `user` 0: of any user. Processes of root that may not be looked into are no job's. */
  mayBeOf(holder: string, user: number): boolean {
    if (!this.#canLook) return true
    return this.#jobs.some(
      (one) => (user === 0 || one.user === user) && (one.holder === null ? one.user !== 0 : one.holder === holder),
    )
  }

  #look(number: number): void {
    const at = `/proc/${number}`
    const [status, stat] = [read(`${at}/status`), read(`${at}/stat`)]
    if (typeof status !== 'string' || typeof stat !== 'string') return // It ended; or, by hidepid, it is another user's.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    // Threads of the kernel, and what has ended, have no memory, and use nothing.
    if (!/^VmSize:/m.test(status)) return
    const user = Number(/^Uid:\t(\d+)/m.exec(status)?.[1] ?? Number.NaN)
    const name = /^Name:\t(.*)$/m.exec(status)?.[1] ?? ''
    const told: (readonly [what: string, text: Told])[] = [
      ...['exe', 'cwd', 'root'].map((link) => [link, target(`${at}/${link}`)] as const),
      ['maps', read(`${at}/maps`)],
      ['mounts', this.#mounted(at)],
      ...descriptors(`${at}/fd`),
    ]
    for (const [what, text] of told) {
      if (typeof text !== 'string' || !text.includes('/conda-deploy-')) continue
      for (const [, cache, entry] of text.matchAll(pattern)) {
        const used = `${cache}/${entry}`
        if (!this.#used.has(used)) this.#used.set(used, `process ${number} (${name}, ${what})`)
      }
    }
    if (told.some(([, text]) => text === null))
      this.#closed.push({ number, user, name, start: startTime(Number(fields[19])) })
    const environment = read(`${at}/environ`)
    const holder = typeof environment === 'string' ? jobHolder(variablesIn(environment)) : environment
    if (holder !== undefined) this.#jobs.push({ user, holder })
  }

  /** The mounts that a process sees, where no process before it saw the same. */
  #mounted(at: string): Told {
    const namespace = target(`${at}/ns/mnt`)
    if (typeof namespace !== 'string' || this.#namespaces.has(namespace)) return namespace === null ? null : ''
    this.#namespaces.add(namespace)
    return read(`${at}/mountinfo`)
  }
}

/** null: it may not be read; undefined: it is not there, or its process has ended. */
type Told = string | null | undefined

function tell<T>(how: () => T): T | null | undefined {
  try {
    return how()
  } catch (error) {
    return ['EACCES', 'EPERM'].includes((error as NodeJS.ErrnoException).code ?? '') ? null : undefined
  }
}

const read = (path: string): Told => tell(() => readFileSync(path, 'latin1'))
const target = (link: string): Told => tell(() => readlinkSync(link, 'latin1'))

function descriptors(folder: string): [what: string, text: Told][] {
  const names = tell(() => readdirSync(folder))
  return names === null ? [['fd', null]] : (names ?? []).map((name) => [`fd ${name}`, target(`${folder}/${name}`)])
}

function variablesIn(environment: string): Record<string, string> {
  return Object.fromEntries(
    environment.split('\0').map((text) => {
      const [name = '', value = ''] = text.split(/=(.*)/s)
      return [name, value]
    }),
  )
}

/** Milliseconds since 1970 of a start that is told in ticks since the boot. */
function startTime(start: number): number {
  const uptime = Number(readFileSync('/proc/uptime', 'latin1').split(' ')[0])
  return Date.now() - (uptime - start / ticks) * 1000
}

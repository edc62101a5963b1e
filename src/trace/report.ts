/** The report: what the tracer counted, by what served it, by role and kind, by file. Pure. */
import type { Traced } from '../traced.js'
import { type Role, roles, type Served, type Server } from './classify.js'
import { type Kind, kindOf, kinds } from './kinds.js'

export interface Tally {
  readonly calls: number
  /** Of them, those that found nothing (ENOENT, ENOTDIR). */
  readonly misses: number
  /** Different paths. */
  readonly files: number
}

export interface TracedFile extends Served {
  /** As it was named, made absolute. */
  readonly path: string
  /** Where links lead it, if that is somewhere else. */
  readonly at?: string
  readonly calls: number
  readonly misses: number
  readonly kinds: Partial<Readonly<Record<Kind, number>>>
  /** Programs that asked for it, the first few. */
  readonly programs: readonly string[]
  readonly bytesRead?: number
  readonly bytesMapped?: number
}

export interface FileSystemTally extends Tally {
  readonly mount: string
  readonly type: string
  readonly server: Server
}

export interface RoleTally extends Tally {
  readonly role: Role
  readonly kinds: Partial<Readonly<Record<Kind, Tally>>>
}

/** Why the numbers may be too small, or not what the program would have done alone. */
export interface Unseen {
  /** Calls of 32-bit programs: refused. */
  readonly foreignCalls: number
  /** io_uring instances: what goes through them is not counted. */
  readonly rings: number
  /** Processes in another mount namespace: their paths are taken as if they were in ours. */
  readonly namespaces: number
  /** Calls whose path could not be read. */
  readonly unreadable: number
  /** Accesses counted for a folder above them, because there were too many different paths. */
  readonly folded: number
}

export interface TraceReport {
  readonly version: 1
  readonly command: readonly string[]
  readonly cwd: string
  /** Exit status; null: a signal ended the program. */
  readonly status: number | null
  readonly signal: string | null
  readonly seconds: number
  readonly processes: number
  readonly threads: number
  readonly executions: number
  /** File accesses that some storage answered: local, shared and unknown ones. */
  readonly accesses: number
  readonly servers: Readonly<Record<Server, Tally>>
  readonly fileSystems: readonly FileSystemTally[]
  readonly roles: readonly RoleTally[]
  /** By system call. */
  readonly calls: Readonly<Record<string, { readonly calls: number; readonly misses: number }>>
  /** Bytes read and mapped from files, by server; only with `bytes`. */
  readonly bytes?: Readonly<Record<Server, { readonly read: number; readonly mapped: number }>>
  /** Most calls first. */
  readonly files: readonly TracedFile[]
  readonly unseen: Unseen
  readonly warnings: readonly string[]
}

class Sum {
  calls = 0
  misses = 0
  readonly #paths = new Set<string>()
  add(path: string, calls: number, misses: number): void {
    this.calls += calls
    this.misses += misses
    this.#paths.add(path)
  }
  tally(): Tally {
    return { calls: this.calls, misses: this.misses, files: this.#paths.size }
  }
}

class Sums<K> {
  readonly #all = new Map<K, Sum>()
  of(key: K): Sum {
    const sum = this.#all.get(key) ?? new Sum()
    this.#all.set(key, sum)
    return sum
  }
  get(key: K): Tally | undefined {
    return this.#all.get(key)?.tally()
  }
  entries(): [K, Tally][] {
    return [...this.#all].map(([key, sum]) => [key, sum.tally()])
  }
}

const servers: readonly Server[] = ['local', 'shared', 'unknown', 'kernel']

export interface Run {
  readonly command: readonly string[]
  readonly cwd: string
  readonly signal: string | null
  readonly bytes: boolean
}

export function makeReport(traced: Traced, run: Run, serve: (path: string) => Served): TraceReport {
  const byServer = new Sums<Server>()
  const byRole = new Sums<Role>()
  const byRoleKind = new Sums<string>()
  const byMount = new Map<string, { readonly served: Served; readonly sum: Sum }>()
  const calls = new Map<string, { calls: number; misses: number }>()
  const bytes = new Map(servers.map((server) => [server, { read: 0, mapped: 0 }]))
  const files: TracedFile[] = []
  for (const { path, at, counts, programs, bytesRead, bytesMapped } of traced.paths) {
    const served = serve(at)
    const mount = `${served.mount} ${served.type} ${served.server}`
    const ofMount = byMount.get(mount) ?? { served, sum: new Sum() }
    const seen: Partial<Record<Kind, number>> = {}
    const all = { calls: 0, misses: 0 }
    for (let i = 0; i + 2 < counts.length; i += 3) {
      const [call = 0, made = 0, missed = 0] = counts.slice(i, i + 3)
      const name = traced.calls[call] ?? ''
      const kind = kindOf(name)
      const ofCall = calls.get(name) ?? { calls: 0, misses: 0 }
      calls.set(name, { calls: ofCall.calls + made, misses: ofCall.misses + missed })
      seen[kind] = (seen[kind] ?? 0) + made
      byRoleKind.of(`${served.role} ${kind}`).add(path, made, missed)
      // Reading what is open is no access of its own: the server was asked when it was opened.
      if (kind === 'read') continue
      all.calls += made
      all.misses += missed
      for (const sum of [byServer.of(served.server), byRole.of(served.role), ofMount.sum]) sum.add(path, made, missed)
    }
    byMount.set(mount, ofMount)
    const read = bytes.get(served.server)
    if (read !== undefined) {
      read.read += bytesRead
      read.mapped += bytesMapped
    }
    const { server, role, type } = served
    files.push({
      path,
      ...(at === path ? {} : { at }),
      ...{ server, role, mount: served.mount, type, ...all, kinds: seen },
      programs: programs.map((number) => traced.programs[number] ?? ''),
      ...(bytesRead > 0 ? { bytesRead } : {}),
      ...(bytesMapped > 0 ? { bytesMapped } : {}),
    })
  }
  const none: Tally = { calls: 0, misses: 0, files: 0 }
  const ofServer = Object.fromEntries(servers.map((server) => [server, byServer.get(server) ?? none]))
  const { foreignCalls, rings, namespaces, unreadable, folded } = traced
  const unseen: Unseen = { foreignCalls, rings, namespaces, unreadable, folded }
  return {
    version: 1,
    ...{ command: run.command, cwd: run.cwd, status: traced.status, signal: run.signal, seconds: traced.seconds },
    ...{ processes: traced.processes, threads: traced.threads, executions: traced.executions },
    accesses: servers.reduce((sum, server) => sum + (server === 'kernel' ? 0 : (byServer.get(server)?.calls ?? 0)), 0),
    servers: ofServer as Record<Server, Tally>,
    fileSystems: [...byMount.values()]
      .map(({ served, sum }) => ({ mount: served.mount, type: served.type, server: served.server, ...sum.tally() }))
      .filter((one) => one.calls > 0)
      .sort((a, b) => b.calls - a.calls),
    roles: roles.flatMap((role) => {
      const tally = byRole.get(role)
      if (tally === undefined) return []
      const ofKind = kinds.flatMap((kind) => {
        const one = byRoleKind.get(`${role} ${kind}`)
        return one === undefined ? [] : [[kind, one] as const]
      })
      return [{ role, ...tally, kinds: Object.fromEntries(ofKind) }]
    }),
    calls: Object.fromEntries([...calls].sort((a, b) => b[1].calls - a[1].calls)),
    ...(run.bytes ? { bytes: Object.fromEntries(bytes) as NonNullable<TraceReport['bytes']> } : {}),
    files: files.sort((a, b) => b.calls - a.calls || (a.path < b.path ? -1 : 1)),
    unseen,
    warnings: warnings(unseen),
  }
}

function warnings({ foreignCalls, rings, namespaces, unreadable, folded }: Unseen): string[] {
  const said: [number, string][] = [
    [foreignCalls, `${foreignCalls} system calls of 32-bit programs were refused: they cannot be traced`],
    [rings, `${rings} io_uring instances were set up: accesses through them are not counted`],
    [namespaces, `${namespaces} processes entered another mount namespace: their paths are judged by ours`],
    [unreadable, `${unreadable} calls named a path that could not be read, and are not counted`],
    [folded, `${folded} accesses are counted for a folder above their file: there were too many different files`],
  ]
  return said.flatMap(([number, text]) => (number > 0 ? [text] : []))
}

export interface DirectoryTally {
  readonly directory: string
  readonly calls: number
  readonly misses: number
  readonly server: Server
}

/** Folders with the most accesses to what lies directly in them; shared ones come first. */
export function directoriesOf(report: TraceReport): DirectoryTally[] {
  const all = new Map<string, DirectoryTally>()
  for (const { path, calls, misses, server } of report.files) {
    if (server === 'kernel' || calls === 0) continue
    const slash = path.lastIndexOf('/')
    const directory = slash <= 0 ? '/' : path.slice(0, slash)
    const known = all.get(`${server} ${directory}`) ?? { directory, calls: 0, misses: 0, server }
    all.set(`${server} ${directory}`, { ...known, calls: known.calls + calls, misses: known.misses + misses })
  }
  const rank = (server: Server): number => (server === 'local' ? 1 : 0)
  return [...all.values()].sort((a, b) => rank(a.server) - rank(b.server) || b.calls - a.calls)
}

/** The tracer's side of the border (native/trace/tracer.h): what goes in, what comes out. Types of `native().trace`. */

export interface TraceJob {
  readonly argv: readonly string[]
  /** `NAME=VALUE`, all of it. */
  readonly env: readonly string[]
  readonly cwd: string
  /** Follow descriptors too: reads, maps, fstat. */
  readonly bytes: boolean
  /** Stop this process whenever the terminal stops the program, as a shell expects of its job. */
  readonly foreground: boolean
}

/** One path, as it was named; links at its end followed, or not. */
export interface TracedPath {
  readonly path: string
  /** Where it leads. */
  readonly at: string
  /** Triples: number in `Traced.calls`, calls, misses (ENOENT, ENOTDIR) among them. */
  readonly counts: readonly number[]
  /** Numbers in `Traced.programs`, the first four. */
  readonly programs: readonly number[]
  readonly bytesRead: number
  readonly bytesMapped: number
}

export interface Traced {
  /** Exit status; null: a signal ended the program. */
  readonly status: number | null
  /** Its number. */
  readonly signal: number | null
  readonly seconds: number
  readonly processes: number
  readonly threads: number
  readonly executions: number
  /** Calls of 32-bit programs, refused with ENOSYS. */
  readonly foreignCalls: number
  /** io_uring instances, of which nothing more is seen. */
  readonly rings: number
  /** Processes that left this mount namespace. */
  readonly namespaces: number
  /** Calls whose path could not be read. */
  readonly unreadable: number
  /** Accesses counted for a directory above them: too many different paths. */
  readonly folded: number
  readonly calls: readonly string[]
  readonly programs: readonly string[]
  readonly paths: readonly TracedPath[]
}

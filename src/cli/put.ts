/**
 * Writing to stdout and stderr without Node's streams for them: the first use of `process.stdout` loads sockets and streams, 4 ms of the
 * 60 that Node takes to start.
 */
import { writeSync } from 'node:fs'

/** Milliseconds between two tries where the other side has made a pipe or terminal non-blocking, and it is full. */
const pause = 2

/** Writes all of it before it returns. Throws what node:fs throws: EPIPE when the reader is gone, ENOSPC on a full disk. */
export function put(descriptor: 1 | 2, text: string): void {
  for (let rest: Uint8Array = Buffer.from(text); rest.length > 0; ) {
    try {
      rest = rest.subarray(writeSync(descriptor, rest))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, pause)
    }
  }
}

/** A channel's server on loopback that behaves as badly as a test wants. */
import { createReadStream, statSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll } from 'vitest'

export interface Served {
  readonly url: string
  /** Requests so far. */
  readonly seen: { readonly path: string; readonly headers: IncomingMessage['headers'] }[]
}

/** `answer` returns true when it has answered by itself; otherwise the file beneath `folder` is sent, by Range where asked. */
export async function serve(
  folder: string,
  answer: (request: IncomingMessage, response: ServerResponse, number: number) => boolean = () => false,
): Promise<Served> {
  const seen: { path: string; headers: IncomingMessage['headers'] }[] = []
  const server: Server = createServer((request, response) => {
    seen.push({ path: request.url ?? '', headers: request.headers })
    if (answer(request, response, seen.length)) return
    sendFile(join(folder, request.url ?? ''), request, response)
  })
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  afterAll(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen }
}

export function sendFile(file: string, request: IncomingMessage, response: ServerResponse): void {
  const size = statSync(file, { throwIfNoEntry: false })?.size
  if (size === undefined) {
    response.writeHead(404).end()
    return
  }
  const from = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0)
  if (from >= size) {
    response.writeHead(416).end()
    return
  }
  const headers = from > 0 ? { 'content-range': `bytes ${from}-${size - 1}/${size}` } : {}
  response.writeHead(from > 0 ? 206 : 200, { ...headers, 'content-length': size - from })
  createReadStream(file, { start: from }).pipe(response)
}

/**
 * As much of the web's interfaces as the solver's library uses, answering from memory. Node's own are not touched: loading them takes 35 ms,
 * and a solve a hundred.
 */

class Headers {
  append(): void {}
}

class Request {
  readonly url: string
  constructor(url: string) {
    this.url = url
  }
}

/** 404 without a text. The library reads the body as a stream. */
class Response {
  readonly url: string
  readonly status: number
  readonly headers: ReadonlyMap<string, string> = new Map()
  readonly body: object

  constructor(url: string, text: string | undefined) {
    this.url = url
    this.status = text === undefined ? 404 : 200
    const chunks = [new TextEncoder().encode(text ?? '')].values()
    const cancel = async (): Promise<void> => {}
    const reader = { read: async () => chunks.next(), cancel, releaseLock: () => {} }
    this.body = { getReader: () => reader, cancel }
  }
}

/** Runs what fetches documents by their addresses: here they are. */
export async function answeringWith<T>(documents: ReadonlyMap<string, string>, run: () => Promise<T>): Promise<T> {
  const fetch = async ({ url }: Request): Promise<Response> => new Response(url, documents.get(url))
  const ours = Object.entries({ fetch, Request, Response, Headers })
  // Not their values: to read one loads it.
  const nodes = ours.map(([name]) => [name, Object.getOwnPropertyDescriptor(globalThis, name) ?? {}] as const)
  for (const [name, value] of ours) Object.defineProperty(globalThis, name, { value, configurable: true })
  try {
    return await run()
  } finally {
    for (const [name, descriptor] of nodes) Object.defineProperty(globalThis, name, descriptor)
  }
}

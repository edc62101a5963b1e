/**
 * What other packers say in an archive about its prefixes: the list of records in the `bin/conda-unpack` of conda-pack, and the table in
 * ours, for archives of ours that lost their index (compressed again). Pure: the scripts are read, never run.
 */
import { EnvError } from '../errors.js'

/** A file and a prefix that stands in it. */
export interface PrefixNote {
  readonly path: string
  readonly placeholder: string
  readonly mode: 'text' | 'binary'
}

export interface Unpacker {
  /** e.g. `conda-pack 0.9.0`. */
  readonly producer: string
  readonly notes: readonly PrefixNote[]
}

/** Where both keep their script, and where conda-pack keeps a module of its own. */
export const unpackScript = 'bin/conda-unpack'
export const unpackHelper = 'bin/conda_unpack_progress.py'

/** What a `bin/conda-unpack` says; null: a script of neither. Throws ARCHIVE_CORRUPT for a list that does not parse. */
export function readUnpacker(script: string): Unpacker | null {
  const list = /^_prefix_records\s*=\s*\[/m.exec(script)
  if (list) {
    const version = /^\s*print\(\s*['"]conda-unpack ([^'"\s]+)['"]\s*\)/m.exec(script)?.[1]
    return {
      producer: `conda-pack${version === undefined ? '' : ` ${version}`}`,
      notes: records(script, list.index + list[0].length),
    }
  }
  const rows = script.split('\n').filter((line) => line.startsWith('#: '))
  return rows.length === 0 ? null : ours(rows.map((line) => line.slice(3)))
}

/** The list behind its `[`: tuples of three strings as Python writes them. */
function records(script: string, start: number): PrefixNote[] {
  const reader = new PythonReader(script, start)
  const notes: PrefixNote[] = []
  while (!reader.takes(']')) {
    reader.expect('(')
    const [path, placeholder, mode] = [reader.string(), reader.comma().string(), reader.comma().string()]
    reader.takes(',')
    reader.expect(')')
    if (!reader.takes(',') && !reader.sees(']')) reader.fail("expected ',' or ']'")
    if (mode !== 'text' && mode !== 'binary')
      return reader.fail(`expected 'text' or 'binary', got ${JSON.stringify(mode)}`)
    notes.push({ path, placeholder, mode })
  }
  return notes
}

const escapes: Readonly<Record<string, string>> = {
  ...{ '\\': '\\', "'": "'", '"': '"', a: '\x07', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t', v: '\v', '\n': '' },
}

/** Enough of Python's grammar for literals of strings: any quotes, prefixes r and u, all escapes but `\N`. */
class PythonReader {
  private at: number
  private readonly text: string

  constructor(text: string, at: number) {
    this.text = text
    this.at = at
  }

  fail(what: string): never {
    const line = this.text.slice(0, this.at).split('\n').length
    const message = `${unpackScript}, line ${line}: its list of prefixes does not parse: ${what}`
    throw new EnvError('ARCHIVE_CORRUPT', message, { path: unpackScript })
  }

  sees(token: string): boolean {
    const space = /(?:[\s\\]|#.*)*/y
    space.lastIndex = this.at
    space.exec(this.text)
    this.at = space.lastIndex
    return this.text.startsWith(token, this.at)
  }

  takes(token: string): boolean {
    if (!this.sees(token)) return false
    this.at += token.length
    return true
  }

  expect(token: string): void {
    if (!this.takes(token))
      this.fail(`expected '${token}', got ${JSON.stringify(this.text.slice(this.at, this.at + 20))}`)
  }

  comma(): this {
    this.expect(',')
    return this
  }

  string(): string {
    this.sees('')
    const open = /([uU]?|[rR])('''|"""|'|")/y
    open.lastIndex = this.at
    const found = open.exec(this.text)
    if (!found) return this.fail(`expected a string, got ${JSON.stringify(this.text.slice(this.at, this.at + 20))}`)
    const [whole, prefix = '', quote = ''] = found
    this.at += whole.length
    const from = this.at
    let value = ''
    // A placeholder has 255 characters, and no others than these.
    const plain = /[^\\'"\n]*/y
    while (!this.text.startsWith(quote, this.at)) {
      plain.lastIndex = this.at
      value += plain.exec(this.text)?.[0] ?? ''
      this.at = plain.lastIndex
      if (this.text.startsWith(quote, this.at)) break
      const char = this.text[this.at]
      if (char === undefined || (char === '\n' && quote.length === 1)) return this.fail('a string has no end')
      if (char !== '\\') value += char
      this.at++
      if (char === '\\') value += this.escape()
    }
    const raw = this.text.slice(from, this.at)
    this.at += quote.length
    return prefix.toLowerCase() === 'r' ? raw : value
  }

  private escape(): string {
    const code = /x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{1,3})/y
    code.lastIndex = this.at
    const found = code.exec(this.text)
    if (found) {
      this.at += found[0].length
      const value = found[4] === undefined ? Number.parseInt(found[0].slice(1), 16) : Number.parseInt(found[4], 8)
      return value > 0x10ffff ? this.fail(`no character has the number ${value}`) : String.fromCodePoint(value)
    }
    const char = this.text[this.at++] ?? ''
    return escapes[char] ?? `\\${char}`
  }
}

/** Our own table, see src/pack/scripts: a head with the prefixes, then a file a row. */
function ours(rows: readonly string[]): Unpacker {
  try {
    const [head, ...files] = rows.map((row) => JSON.parse(row) as unknown)
    const { version, producer, prefixes } = head as { version: number; producer: string; prefixes: readonly string[] }
    if (version !== 1) throw new Error(`it has version ${version}, expected 1`)
    const notes = new Map<string, PrefixNote>()
    for (const file of files) {
      const [path, , , spots] = file as [string, number, string, readonly [string, number, number, number][]]
      for (const [encoding, , refers] of spots) {
        const placeholder = prefixes[refers]
        if (encoding === 'digest' || placeholder === undefined) continue
        const mode = encoding === 'text' ? 'text' : 'binary'
        notes.set(`${mode}\0${refers}\0${path}`, { path, placeholder, mode })
      }
    }
    return { producer: `conda-deploy ${producer}`, notes: [...notes.values()] }
  } catch (error) {
    const message = `${unpackScript}: its table of prefixes does not parse: ${(error as Error).message}`
    throw new EnvError('ARCHIVE_CORRUPT', message, { path: unpackScript, cause: error })
  }
}

/** Writes texts.json from the files beside it: `node src/pack/scripts/embed.mjs`. A test refuses a texts.json that is out of date. */
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const shells = ['', '.csh', '.fish'].flatMap((shell) => [`activate${shell}`, `deactivate${shell}`])
const files = [...shells, 'activate.awk', 'unpack.py']

/** As arrays of lines, so that a change of a text is readable in a change of this file. */
export function embedded() {
  const lines = (name) => readFileSync(new URL(name, import.meta.url), 'utf8').split('\n')
  return `${JSON.stringify(Object.fromEntries(files.map((name) => [name, lines(name)])), null, 2)}\n`
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  writeFileSync(new URL('texts.json', import.meta.url), embedded())

/** Writes texts.ts from the files beside it: `node src/pack/scripts/embed.mjs`. A test refuses a texts.ts that is out of date. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = import.meta.dirname ?? fileURLToPath(new URL('.', import.meta.url))
const files = ['activate', 'deactivate', 'activate.fish', 'deactivate.fish', 'activate.csh', 'deactivate.csh', 'variables.awk', 'unpack.py']

export function texts() {
  const constant = (name) => name.replace(/\W+(.)/g, (_, letter) => letter.toUpperCase())
  const literal = (text) => `\`${text.replace(/[\\`]|\$\{/g, '\\$&')}\``
  const one = (name) => `export const ${constant(name)}: string = ${literal(readFileSync(join(here, name), 'utf8'))}\n`
  return `// Made by embed.mjs from the files of this folder. Edit those.\n\n${files.map(one).join('\n')}`
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(join(here, 'texts.ts'), texts())

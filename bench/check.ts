/** Is the tree that a contender made the environment it started from? Told by an implementation of relocating that is not the product's. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Lab } from './lab.js'

/** Kind and content of everything in a tree: `f` with a SHA-256, `l` with its target, `d`. */
type Listing = ReadonlyMap<string, string>

const known = new Map<string, Listing>()

function list(lab: Lab, root: string): Listing {
  const said = execFileSync(lab.floor, ['list', root, String(lab.threads)], { encoding: 'utf8', maxBuffer: 1 << 30 })
  const lines = said.trimEnd().split('\n')
  return new Map(lines.map((line) => [line.slice(line.lastIndexOf('\t') + 1), line.slice(0, line.lastIndexOf('\t'))]))
}

/** What packers write themselves, and compiled Python, of which each takes what it thinks is fresh. */
const own = /^(?:bin\/(?:activate|deactivate|conda-unpack)[^/]*|\.conda-deploy\/.*|conda-meta\/.*|.*\.pyc)$/

export interface Wrong {
  readonly entries: number
  readonly of: number
  readonly text: string
}

/** What differs; undefined: nothing. `relocated`: its files must name the target where those of the environment name that. */
export function checkTree(lab: Lab, target: string, relocated: boolean): Wrong | undefined {
  const before = known.get(lab.env) ?? list(lab, lab.env)
  known.set(lab.env, before)
  const after = list(lab, target)
  const wrong = [...before]
    .filter(([path, content]) => !own.test(path) && after.get(path) !== content)
    .filter(([path, content]) => !after.has(path) || !isRelocated(lab, path, target, content, relocated))
    .map(([path]) => `${path} (${after.has(path) ? 'differs' : 'missing'})`)
  if (wrong.length === 0) return undefined
  const text = `${wrong.length} of ${before.size} entries are wrong: ${wrong.slice(0, 5).join(', ')}`
  return { entries: wrong.length, of: before.size, text }
}

/** A file with the prefix: rewritten as conda does it, or anything where the contender does not relocate. */
function isRelocated(lab: Lab, path: string, target: string, content: string, relocated: boolean): boolean {
  if (!content.startsWith('f')) return content.includes(lab.env)
  const was = readFileSync(join(lab.env, path), 'latin1')
  if (!was.includes(lab.env)) return false
  if (!relocated) return true
  const is = readFileSync(join(target, path), 'latin1')
  const expected = rewrite(was, lab.env, target)
  return is === expected || (byPath.test(is) && expected.startsWith('#!') && body(is) === body(expected))
}

/** conda-pack lets scripts look for their interpreter by PATH, which is right once the environment is activated. */
const byPath = /^#!\/usr\/bin\/env /
const body = (script: string): string => script.slice(script.indexOf('\n'))

/** Texts grow or shrink; in binaries each C string keeps its place, filled up with NULs. */
function rewrite(content: string, from: string, to: string): string {
  if (!content.includes('\0')) return content.replaceAll(from, to)
  let out = ''
  let at = 0
  for (let found = content.indexOf(from); found >= 0; found = content.indexOf(from, at)) {
    const nul = content.indexOf('\0', found)
    const end = nul < 0 ? content.length : nul
    const string = content.slice(found, end)
    const changed = string.replaceAll(from, to)
    // What a longer prefix takes, the NULs behind the string give.
    const rest = end + Math.max(0, changed.length - string.length)
    out += content.slice(at, found) + changed.padEnd(string.length, '\0')
    at = rest
  }
  return out + content.slice(at)
}

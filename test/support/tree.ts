/** A tree as comparable lines, read by the operating system's own means and Node's hash: no code of the product is involved. */
import { createHash } from 'node:crypto'
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'

/** `path` → what stands there: kind, permission bits, mtime in seconds, and the hash or link text. `skip`: names beneath the root. */
export function describeTree(root: string, skip: readonly string[] = []): Map<string, string> {
  const lines = new Map<string, string>()
  const visit = (relative: string): void => {
    for (const name of readdirSync(join(root, relative))) {
      if (relative === '' && skip.includes(name)) continue
      const path = relative === '' ? name : `${relative}/${name}`
      const full = join(root, path)
      const stat = lstatSync(full)
      const mode = (stat.mode & 0o7777).toString(8)
      const mtime = Math.floor(stat.mtimeMs / 1000)
      if (stat.isSymbolicLink()) {
        lines.set(path, `link ${readlinkSync(full)}`)
      } else if (stat.isDirectory()) {
        lines.set(path, `directory ${mode} ${mtime}`)
        visit(path)
      } else {
        lines.set(path, `file ${mode} ${mtime} ${createHash('sha256').update(readFileSync(full)).digest('hex')}`)
      }
    }
  }
  visit('')
  return lines
}

/** Lines in which two descriptions differ, as `path: one | other`. */
export function differences(one: Map<string, string>, other: Map<string, string>): string[] {
  const paths = [...new Set([...one.keys(), ...other.keys()])].sort()
  return paths
    .filter((path) => one.get(path) !== other.get(path))
    .map((path) => `${path}: ${one.get(path) ?? 'absent'} | ${other.get(path) ?? 'absent'}`)
}

/** Paths of the files and links beneath `root` whose content or target has `needle` in it. */
export function filesWith(root: string, needle: string): string[] {
  const found: string[] = []
  const bytes = Buffer.from(needle)
  const visit = (relative: string): void => {
    for (const name of readdirSync(join(root, relative))) {
      const path = relative === '' ? name : `${relative}/${name}`
      const full = join(root, path)
      const stat = lstatSync(full)
      if (stat.isDirectory()) visit(path)
      else if (stat.isSymbolicLink() ? readlinkSync(full).includes(needle) : readFileSync(full).includes(bytes))
        found.push(path)
    }
  }
  visit('')
  return found.sort()
}

/** The one validator of the names of entries and of link targets. Pure text; the native core checks again what it reads. */
import { posix } from 'node:path'
import { EnvError } from '../errors.js'

/** Relative, `/`-separated, no empty, `.` or `..` component, no NUL: what src/archive/FORMAT.md demands. */
export function isSafePath(path: string): boolean {
  // One look instead of an array of parts: asked for every file, several times.
  return !unsafe.test(path)
}

/** A NUL, or a component that is empty, `.` or `..`. */
const unsafe = /\0|(?:^|\/)\.{0,2}(?:\/|$)/

/** Throws UNSAFE_PATH for a path that is not safe; `where` says who names it. */
export function checkPath(path: string, where: string): void {
  if (isSafePath(path)) return
  const rule = "expected a relative path without '.', '..' and empty parts"
  throw new EnvError('UNSAFE_PATH', `${where} names ${JSON.stringify(path)}: ${rule}`, { path })
}

/**
 * Where the link at `path` leads, as a path relative to the root of the tree (`''`: the root itself); null when its text is absolute
 * or leaves the tree anywhere on its way. Links on that way are not followed.
 */
export function linkInside(path: string, target: string): string | null {
  if (target === '' || target.startsWith('/')) return null
  // As most links lead: beside themselves.
  if (!target.startsWith('.') && !target.includes('/')) return path.slice(0, path.lastIndexOf('/') + 1) + target
  const at = posix.dirname(path) === '.' ? [] : posix.dirname(path).split('/')
  for (const part of target.split('/')) {
    if (part === '..') {
      if (at.pop() === undefined) return null
    } else if (part !== '' && part !== '.') at.push(part)
  }
  return at.join('/')
}

/** The text of a link at `path` that leads to `inside`, a path of the same tree. */
export function linkText(path: string, inside: string): string {
  return posix.relative(posix.join('/', posix.dirname(path)), posix.join('/', inside)) || '.'
}

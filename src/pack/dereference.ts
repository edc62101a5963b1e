/**
 * For formats without links: a scan in which every symbolic link is what it leads to, a file or a whole folder, as conda-pack packs
 * zip. Links inside the environment cost no look at the disk.
 */
import { readdirSync, realpathSync, type Stats, statSync } from 'node:fs'
import { join } from 'node:path'
import { largeZip, mostEntries } from '../archive/write-zip.js'
import type { Environment } from '../conda/environment.js'
import { EnvError, fromSystem } from '../errors.js'
import type { Scanned } from '../native.js'
import { follow } from '../tree/follow.js'
import type { Settled } from './options.js'
import { parentOf } from './order.js'
import type { Plan } from './plan.js'

/** `onDisk`: the scan is of a tree that is there. Without hard links; without symbolic ones too, except for those that lead nowhere, or to a folder around themselves. */
export function dereference(
  { prefix }: Pick<Environment, 'prefix'>,
  scanned: Iterable<Scanned>,
  { links, onDisk }: { readonly links: boolean; readonly onDisk: boolean },
): Scanned[] {
  const single = [...scanned].map(({ inode: _, ...node }): Scanned => node)
  if (links) return single
  const out: Scanned[] = []
  const beneath = childrenOf(single)
  const nodes = new Map(single.map((node) => [node.path, node]))
  const root = onDisk ? realpathSync(prefix) : prefix
  const endOf = (path: string): string | null => {
    if (onDisk) return realOf(join(root, path))
    const end = follow(nodes, path, true)
    return end === null ? null : join(root, end)
  }
  const add = (path: string, node: Scanned, around: readonly string[]): void => {
    if (node.kind !== 'symlink') {
      out.push(node.path === path ? node : { ...node, path, source: node.source ?? node.path })
      if (node.kind === 'directory' && around.length > 0)
        for (const child of beneath.get(node.path) ?? []) {
          const inner = nodes.get(child)
          if (inner) add(path + child.slice(node.path.length), inner, around)
        }
      return
    }
    const real = endOf(node.path)
    if (real === null || around.includes(real) || `${join(root, path)}/`.startsWith(`${real}/`))
      out.push({ ...node, path })
    else if (real.startsWith(`${root}/`)) {
      const target = nodes.get(real.slice(root.length + 1))
      if (target) add(path, target, [...around, real])
      else outside(path, real, around, out)
    } else outside(path, real, around, out)
  }
  for (const node of single) add(node.path, node, [])
  return out.sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0))
}

/** What lies outside of the environment, or of its scan. */
function outside(path: string, real: string, around: readonly string[], out: Scanned[]): void {
  const stat = statOf(real)
  const { mode } = stat
  const mtime = Math.floor(stat.mtimeMs / 1000)
  if (stat.isFile()) out.push({ path, kind: 'file', mode: mode & 0o7777, mtime, size: stat.size, source: real })
  else if (!stat.isDirectory()) out.push({ path, kind: 'other', mode: 0, mtime, size: 0 })
  else {
    out.push({ path, kind: 'directory', mode: mode & 0o7777, mtime, size: 0 })
    for (const name of namesIn(real)) {
      const inner = realOf(join(real, name))
      if (inner !== null && inner !== real && !around.includes(inner))
        outside(`${path}/${name}`, inner, [...around, real], out)
    }
  }
}

function childrenOf(scanned: readonly Scanned[]): Map<string, string[]> {
  const children = new Map<string, string[]>()
  for (const { path } of scanned) {
    const parent = parentOf(path)
    const list = children.get(parent)
    if (list) list.push(path)
    else children.set(parent, [path])
  }
  return children
}

function realOf(path: string): string | null {
  try {
    return realpathSync(path)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ELOOP') return null
    throw fromSystem(error, 'cannot follow', path)
  }
}

function statOf(path: string): Stats {
  try {
    return statSync(path)
  } catch (error) {
    throw fromSystem(error, 'cannot look at', path)
  }
}

function namesIn(path: string): string[] {
  try {
    return readdirSync(path).sort()
  } catch (error) {
    throw fromSystem(error, 'cannot read', path)
  }
}

/** Throws UNSUPPORTED for what a zip cannot hold: names, links that could not be followed, and more entries than it counts. */
export function checkZip(plan: Pick<Plan, 'entries' | 'meta'>, options: Pick<Settled, 'zipSymlinks' | 'zip64'>): void {
  // With conda-unpack.
  if (!options.zip64 && plan.entries.length + plan.meta.length + 1 > mostEntries) throw largeZip()
  for (const list of [plan.entries, plan.meta])
    for (const { path, kind } of list) {
      if (kind === 'symlink' && !options.zipSymlinks) throw danglingError(path)
      // Lone surrogates stand for bytes that are not UTF-8.
      if (/(?<![\ud800-\udbff])[\udc80-\udcff]/.test(path)) throw nameError(path, 'not UTF-8')
      if (path.includes('\\')) throw nameError(path, 'a backslash in it')
      if (/^[a-zA-Z]:/.test(path)) throw nameError(path, 'what looks like a drive')
    }
}

const nameError = (path: string, why: string): EnvError =>
  new EnvError('UNSUPPORTED', `a zip cannot hold the name ${JSON.stringify(path)}: ${why}`, {
    path,
    hint: 'choose a tar format, or leave it out with --exclude',
  })

function danglingError(path: string): EnvError {
  const text =
    'The following conda package file is a symbolic link that does not match an\n' +
    `existing file within the same package:\n\n    ${path}\n\n` +
    'It is likely this link points to a file brought into the environment by\n' +
    'a dependency. Unfortunately, this is not possible in zip files unless the\n' +
    '--zip-symlinks option is engaged. Use a tar-based archive format instead.'
  return new EnvError('UNSUPPORTED', text, { path })
}

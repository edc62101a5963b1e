/** What the archive holds once the core has packed it: which paths, and the hash of each file as it will be deployed. Pure. */
import { createHash } from 'node:crypto'
import type { Contents } from '../conda/record-text.js'
import type { Outcome, PackEntry } from '../native.js'
import { follow, type Node } from '../tree/follow.js'
import type { Plan } from './plan.js'

const sha256 = (data: Uint8Array | string): string => createHash('sha256').update(data).digest('hex')

const isEntry = (node: PackEntry | Node): node is PackEntry => 'path' in node

/** `reserved`: paths that are made later. */
export function contentsOf(plan: Plan, outcomes: ReadonlyMap<string, Outcome>, reserved: readonly string[]): Contents {
  const nodes = new Map<string, PackEntry | Node>()
  for (const list of [plan.entries, plan.meta]) for (const entry of list) nodes.set(entry.path, entry)
  for (const { path, dropped } of outcomes.values()) if (dropped) nodes.delete(path)
  for (const path of reserved) nodes.set(path, { kind: 'file' })
  // A record asks three questions of a path before it comes to the next, and few lead over links.
  let asked: string | undefined
  let answer: PackEntry | Node | undefined
  const nodeAt = (path: string): PackEntry | Node | undefined => {
    if (path !== asked) answer = nodes.get(path)
    asked = path
    return answer
  }
  const reached = (path: string, last: boolean): PackEntry | undefined => {
    const there = nodeAt(path)
    const direct = there !== undefined && !(last && there.kind === 'symlink')
    const end = direct ? path : follow(nodes, path, last)
    const node = direct ? there : nodes.get(end ?? '')
    return node !== undefined && isEntry(node) ? node : undefined
  }
  return {
    has: (path) => nodeAt(path) !== undefined || follow(nodes, path, false) !== null,
    hash(path) {
      const there = reached(path, true)
      const entry = there?.kind === 'hardlink' ? reached(there.target ?? '', false) : there
      if (entry?.kind !== 'file') return null
      if (entry.data !== undefined) return { sha256: sha256(entry.data) }
      const outcome = outcomes.get(entry.path)
      if (outcome?.spots !== undefined && outcome.spots.length > 0) return { of: entry.path }
      // The core says nothing of a file that is as its package had it.
      const known = outcome?.sha256 ?? entry.expect?.sha256
      return known === undefined ? null : { sha256: known }
    },
    link(path) {
      const entry = reached(path, false)
      if (entry?.kind !== 'symlink') return null
      const text = entry.target ?? ''
      return { text, was: plan.relinked.get(entry.path) ?? text }
    },
  }
}

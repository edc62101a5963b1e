/** What the archive holds once the core has packed it: which paths, and the hash of each file as it will be deployed. Pure. */
import type { Contents } from '../conda/record-text.js'
import { native, type Outcome, type PackEntry } from '../native.js'
import { follow, type Node } from '../tree/follow.js'
import type { Plan } from './plan.js'

/** Stands for what is made later. */
const later: Node = { kind: 'file' }
const isEntry = (node: PackEntry | Node): node is PackEntry => node !== later

/** What becomes of a file: left out, changed by deploying, or deployed with this hash; null: nothing is known of that. */
export type Fate = 'dropped' | 'relocated' | { readonly sha256: string } | null

/** The core says nothing of a file that is as its package had it. */
export function fateOf(entry: PackEntry, outcome: Outcome | undefined): Fate {
  if (outcome?.dropped) return 'dropped'
  if (outcome?.spots !== undefined && outcome.spots.length > 0) return 'relocated'
  const sha256 = outcome?.sha256 ?? entry.expect?.sha256
  return sha256 === undefined ? null : { sha256 }
}

/** `dropped`: paths that are left out; `reserved`: paths that are made later. */
export function contentsOf(
  plan: Plan,
  dropped: Iterable<string>,
  fate: (entry: PackEntry) => Fate,
  reserved: readonly string[],
): Contents {
  const gone = new Set(dropped)
  const awaited = new Set(reserved)
  const nodes = {
    get(path: string): PackEntry | Node | undefined {
      if (awaited.has(path)) return later
      return gone.has(path) ? undefined : plan.find(path)
    },
  }
  // A record asks three questions of a path before it comes to the next, and few lead over links.
  let last: string | undefined
  let answer: PackEntry | Node | undefined
  const nodeAt = (path: string): PackEntry | Node | undefined => {
    if (path !== last) answer = nodes.get(path)
    last = path
    return answer
  }
  const reached = (path: string, through: boolean): PackEntry | undefined => {
    const there = nodeAt(path)
    const direct = there !== undefined && !(through && there.kind === 'symlink')
    const end = direct ? path : follow(nodes, path, through)
    const node = direct ? there : nodes.get(end ?? '')
    return node !== undefined && isEntry(node) ? node : undefined
  }
  return {
    has(path) {
      const direct = awaited.has(path) || (plan.has(path) && !gone.has(path))
      return direct || follow(nodes, path, false) !== null
    },
    hash(path) {
      const there = reached(path, true)
      const entry = there?.kind === 'hardlink' ? reached(there.target ?? '', false) : there
      if (entry?.kind !== 'file') return null
      if (entry.data !== undefined) return { sha256: native().sha256(entry.data) }
      const its = fate(entry)
      if (its === 'relocated') return { of: entry.path }
      return its === 'dropped' ? null : its
    },
    link(path) {
      const entry = reached(path, false)
      if (entry?.kind !== 'symlink') return null
      const text = entry.target ?? ''
      return { text, was: plan.relinked.get(entry.path) ?? text }
    },
  }
}

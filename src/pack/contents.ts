/** What the archive holds once the core has packed it: which paths, and the hash of each file as it will be deployed. Pure. */
import { createHash } from 'node:crypto'
import type { Contents } from '../conda/record-text.js'
import type { Outcome, PackEntry } from '../native.js'
import { follow, type Node } from '../tree/follow.js'
import type { Plan } from './plan.js'

const sha256 = (data: Uint8Array | string): string => createHash('sha256').update(data).digest('hex')

/** `reserved`: paths that are made later. */
export function contentsOf(plan: Plan, outcomes: ReadonlyMap<string, Outcome>, reserved: readonly string[]): Contents {
  const entries = new Map<string, PackEntry>([...plan.entries, ...plan.meta].map((entry) => [entry.path, entry]))
  for (const { path, dropped } of outcomes.values()) if (dropped) entries.delete(path)
  const nodes = new Map<string, Node>(entries)
  for (const path of reserved) nodes.set(path, { kind: 'file' })
  return {
    has: (path) => follow(nodes, path, false) !== null,
    hash(path) {
      const end = follow(nodes, path, true)
      const entry = end === null ? undefined : entries.get(plan.shared.get(end) ?? end)
      if (entry?.kind !== 'file') return null
      if (entry.data !== undefined) return { sha256: sha256(entry.data) }
      const outcome = outcomes.get(entry.path)
      if (outcome?.spots !== undefined && outcome.spots.length > 0) return { of: entry.path }
      // The core says nothing of a file that is as its package had it.
      const known = outcome?.sha256 ?? entry.expect?.sha256
      return known === undefined ? null : { sha256: known }
    },
    link(path) {
      const at = follow(nodes, path, false)
      const entry = at === null ? undefined : entries.get(at)
      if (entry?.kind !== 'symlink') return null
      const text = entry.target ?? ''
      return { text, was: plan.relinked.get(entry.path) ?? text }
    },
  }
}

/** The order in which packages are linked: what a package depends on comes before it. Pure. */
import type { RepoRecord } from './repodata.js'

/**
 * Otherwise by name; where packages depend on each other, the one whose name comes first is first. python itself does not wait for the
 * Python packages it asks for (pip), which are installed by it.
 */
export function inOrder<T extends Pick<RepoRecord, 'name' | 'depends' | 'noarch'>>(records: readonly T[]): T[] {
  const sorted = [...records].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
  const byName = new Map(sorted.map((record) => [record.name, record]))
  const seen = new Set<T>()
  const ordered: T[] = []
  const visit = (record: T): void => {
    // Iterative: chains of dependencies have no bound.
    const stack: { readonly record: T; readonly left: T[] }[] = []
    const enter = (one: T): void => {
      seen.add(one)
      const needs = one.depends.map((text) => byName.get(/^[^ =<>!~]+/.exec(text)?.[0] ?? ''))
      const isNeed = (need: T | undefined): need is T =>
        need !== undefined && !(one.name === 'python' && need.noarch === 'python')
      stack.push({ record: one, left: needs.filter(isNeed).reverse() })
    }
    enter(record)
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      const next = top.left.pop()
      if (next === undefined) {
        ordered.push(top.record)
        stack.pop()
      } else if (!seen.has(next)) {
        enter(next)
      }
    }
  }
  for (const record of sorted) if (!seen.has(record)) visit(record)
  return ordered
}

/** Follows the symbolic links of a tree that is only known as data. Pure. */

export interface Node {
  readonly kind: string
  /** Text of a symbolic link; absolute ones lead out of the tree. */
  readonly target?: string
}

/** As in Linux. */
const maxLinks = 40

/**
 * The path in `nodes` that `path` reaches over links to directories, and, with `last`, over a link that stands there itself; null when
 * nothing is there or a link leaves the tree.
 */
export function follow(nodes: Pick<ReadonlyMap<string, Node>, 'get'>, path: string, last: boolean): string | null {
  const there = nodes.get(path)
  if (there && !(last && there.kind === 'symlink')) return path
  // Most links lead to a neighbour, where the way above needs no second look.
  const neighbour = there?.target ?? ''
  if (neighbour !== '' && !neighbour.includes('/') && !neighbour.startsWith('.')) {
    const beside = path.slice(0, path.lastIndexOf('/') + 1) + neighbour
    const node = nodes.get(beside)
    if (node === undefined) return null
    if (node.kind !== 'symlink') return beside
  }
  const rest = path.split('/').reverse()
  const at: string[] = []
  for (let links = 0; rest.length > 0; ) {
    const part = rest.pop() as string
    if (part === '' || part === '.') continue
    if (part === '..') {
      if (at.pop() === undefined) return null
      continue
    }
    at.push(part)
    const node = nodes.get(at.join('/'))
    if (!node) return null
    if (node.kind !== 'symlink' || (rest.length === 0 && !last)) continue
    const target = node.target ?? ''
    if (target.startsWith('/') || ++links > maxLinks) return null
    at.pop()
    rest.push(...target.split('/').reverse())
  }
  return at.join('/')
}

/** Links and directories cross the border in columns: of thousands of objects each property that is read costs a call. */
import type { MaterializeEntry, PlainNodes } from './jobs.js'
import { kinds } from './packed-entries.js'

export type LinkOrDirectory = Pick<MaterializeEntry, 'path' | 'mode' | 'mtime' | 'target'> & {
  readonly kind: Exclude<MaterializeEntry['kind'], 'file' | 'other'>
}

export function plainNodes(nodes: readonly LinkOrDirectory[]): PlainNodes {
  const texts: string[] = []
  const numbers = new Float64Array(3 * nodes.length)
  let at = 0
  for (const { path, kind, mode, mtime, target = '' } of nodes) {
    texts.push(path, target)
    numbers[at++] = kinds[kind]
    numbers[at++] = mode
    numbers[at++] = mtime
  }
  return { texts: texts.join('\0'), numbers }
}

/** Where the packed environment stood, found out from what an archive says. Pure. */
import type { PrefixNote } from '../../archive/conda-pack.js'
import { longestFirst } from '../../conda/find.js'
import { isPrefix } from '../../conda/origin.js'
import type { Knowledge } from './knowledge.js'

/**
 * The prefixes of the source environment by the notes of its packer: those that are no package's placeholder. `proven`: whether the
 * content of a file is that of its package, so that what stands in it is a placeholder.
 */
export function originsByNotes(
  notes: readonly PrefixNote[],
  known: Knowledge,
  proven: (path: string) => boolean,
): string[] {
  const placeholders = known.placeholders()
  const origins = new Set<string>()
  for (const { path, placeholder } of notes) {
    if (placeholders.has(placeholder) || !isPrefix(placeholder)) continue
    if (proven(path)) placeholders.add(placeholder)
    else origins.add(placeholder)
  }
  for (const placeholder of placeholders) origins.delete(placeholder)
  return longestFirst(origins)
}

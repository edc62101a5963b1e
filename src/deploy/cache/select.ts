/** Deployments of caches by what users call them. */
import { resolve } from 'node:path'
import { EnvError } from '../../errors.js'
import { inCaches } from './caches.js'
import { type Entry, entriesIn } from './entries.js'
import type { CacheFolder } from './folder.js'

/** By the path of their cache. Throws NOT_A_DEPLOYMENT when a word fits none. */
export async function select(
  verb: string,
  caches: readonly CacheFolder[],
  words: readonly string[],
  warn: (message: string) => void,
): Promise<Map<string, Entry[]>> {
  const found = new Map<string, Entry[]>()
  const unmet = new Set(words)
  await inCaches(caches, warn, async (open) => {
    const { path } = open.cache
    const chosen = entriesIn(open).filter((entry) => {
      const fitting = words.filter((word) => fits(entry, path, word))
      for (const word of fitting) unmet.delete(word)
      return fitting.length > 0
    })
    if (chosen.length > 0) found.set(path, chosen)
  })
  const [missing] = unmet
  if (missing === undefined) return found
  const hint = 'conda-deploy cache list shows what there is'
  throw new EnvError('NOT_A_DEPLOYMENT', `${verb}: no deployment in a cache is called ${missing}`, { hint })
}

const isDigest = (word: string): boolean => /^[0-9a-f]{8,64}$/.test(word)

function fits({ entry, digest, name }: Entry, cache: string, word: string): boolean {
  if (word.includes('/')) return resolve(word) === `${cache}/${entry}`
  return word === entry || word === name || (isDigest(word) && digest.startsWith(word))
}

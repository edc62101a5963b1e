/** conda-meta of the deployed environment: records and the history made true, in the stage. */
import { join } from 'node:path'
import { parseRecord } from '../../conda/record.js'
import { type Contents, type Hash, historyText, type NewHash, recordText, withHashes } from '../../conda/record-text.js'
import { type MaterializeEntry, native } from '../../native.js'
import type { LinkOrDirectory } from '../../plain-nodes.js'
import type { Entry, Spot } from '../../tree/entry.js'
import { follow, type Node } from '../../tree/follow.js'
import { linkInside } from '../../tree/safe-path.js'
import { both } from './both.js'
import { isRecord, type Knowledge } from './knowledge.js'
import { readNow, study } from './relocate.js'
import type { ForeignTree } from './tree.js'
import type { Writer } from './writer.js'

const history = 'conda-meta/history'

/** What `finishMeta` may write anew. */
export const isMeta = (path: string): boolean => isRecord(path) || path === history

/** Bytes of new documents to one native job. */
const jobBytes = 8 << 20

export interface Finished {
  readonly tree: ForeignTree
  readonly known: Knowledge
  readonly writer: Writer
  readonly origins: readonly string[]
  /** Numbers of the paths of history and records, as far as they are files. */
  readonly metas: ReadonlySet<number>
  readonly signal: AbortSignal | undefined
  /** Links and directories, which are written later. */
  readonly rest: readonly LinkOrDirectory[]
}

/**
 * Writes the history and the records that are not true any more anew. Returns those in which the prefix of the source environment still
 * stands.
 */
export async function finishMeta(finished: Finished): Promise<string[]> {
  const { known, writer, origins } = finished
  const left: string[] = []
  let entries: MaterializeEntry[] = []
  let stored: Entry[] = []
  let bytes = 0
  const flush = async (): Promise<void> => {
    await writer.write(entries)
    for (const entry of stored) writer.set(entry)
    entries = []
    stored = []
    bytes = 0
  }
  const metas = [...finished.metas].flatMap((number) => writer.at(number) ?? []).filter(({ kind }) => kind === 'file')
  const portable = metas.filter(({ path }) => known.isPortable(path))
  // They are looked through while it is found out which of them would stay.
  const [outcomes, [contents, hashes]] = await both(study(finished, portable, origins), async () => {
    const contents = new Standing(finished)
    const found = new Map<string, readonly NewHash[] | null>()
    for (const { path } of portable)
      found.set(
        path,
        known.newHashes(
          path,
          contents,
          (number, hash) => contents.stands(number, hash),
          () => parseRecord(path, readNow(join(writer.job.root, path)).toString('utf8')),
        ),
      )
    return [contents, found] as const
  })
  const named = new Set(outcomes.filter((outcome) => outcome.kept.prefix > 0).map(({ path }) => path))
  const stay = new Set(metas.filter(({ path }) => hashes.get(path)?.length === 0 && !named.has(path)))
  for (const entry of metas) {
    if (stay.has(entry)) continue
    const { path, kind, mode, mtime } = entry
    const document = readNow(join(writer.job.root, path))
    const old = document.toString('utf8')
    if (path === history) {
      // The new prefix may stand there already: the index has to know its places, too.
      const rewrites = [writer.job.prefix, ...origins].map((prefix) => ({ prefix, mode: 'text' as const }))
      entries.push({ path, kind, mode, mtime, data: Buffer.from(historyText(old)), rewrites })
      continue
    }
    const names = (text: string): boolean => origins.some((origin) => text.includes(origin))
    const changed = hashes.get(path) ?? null
    const patches = changed !== null && changed.length > 0 && !names(old)
    let made = patches ? withHashes(document, changed) : null
    if (made === null) {
      const { text, digests } = recordText(parseRecord(path, old), contents, known.sitePackages)
      made = { data: Buffer.from(text), digests }
      if (names(text)) left.push(path)
    }
    const { data, digests } = made
    const asStored = digests.length > 0 ? native().sha256(data) : ''
    for (const { offset, path: of } of digests) data.write(deployedHash(writer.get(of)), offset, 'latin1')
    const spots = digests.map(({ offset, path: refers }): Spot => ({ encoding: 'digest', offset, refers, slot: 0 }))
    entries.push({ path, kind, mode, mtime, data })
    if (spots.length > 0)
      stored.push({
        ...{ path, kind, mode, mtime, size: data.length, sha256: asStored, spots },
        deployed: { size: data.length, sha256: native().sha256(data) },
      })
    bytes += data.length
    if (bytes > jobBytes) await flush()
  }
  await flush()
  return left
}

const deployedHash = (entry: Entry | undefined): string => entry?.deployed?.sha256 ?? entry?.sha256 ?? ''

/** The text of a link that goes up, and then down: where a file stands at its end there is no other link on its way. */
const straight = /^(?:\.\.\/)*(?:(?!\.\.?\/)[^/]+\/)*(?!\.\.?$)[^/]+$/

/** What stands in the tree, and what will: links and directories. */
class Standing implements Contents {
  private readonly finished: Finished
  private readonly later = new Map<number, LinkOrDirectory>()
  private readonly nodes: Pick<ReadonlyMap<string, Node>, 'get'>

  constructor(finished: Finished) {
    this.finished = finished
    const { paths } = finished.tree
    for (const entry of finished.rest) this.later.set(paths.number(entry.path), entry)
    this.nodes = {
      get: (path) => {
        const number = paths.find(path)
        return number === undefined ? undefined : this.node(number)
      },
    }
  }

  private node(number: number): Node | undefined {
    return this.finished.writer.nodeAt(number) ?? this.later.get(number)
  }

  /** See `newHashes`: a file, or a link to one that is as it was in the archive. All others are looked for on their way. */
  stands(number: number, hash: string | undefined): boolean {
    const { tree, writer } = this.finished
    if (hash !== undefined && writer.stands(number, hash)) return true
    const { kind, target = '' } = this.node(number) ?? {}
    if (hash === undefined) return kind !== undefined
    if (kind !== 'symlink' || !straight.test(target)) return false
    const path = tree.paths.text(number)
    const end = tree.linkText(path) === target ? linkInside(path, target) : null
    const file = end === null ? undefined : tree.paths.find(end)
    return file !== undefined && writer.stands(file, hash)
  }

  isStill(path: string, hash: string): boolean {
    const number = this.finished.tree.paths.find(path)
    return number !== undefined && this.stands(number, hash)
  }

  has(path: string): boolean {
    return follow(this.nodes, path, false) !== null
  }

  hash(path: string): Hash | null {
    const { tree, writer } = this.finished
    const end = follow(this.nodes, path, true)
    const entry = end === null ? undefined : writer.get(tree.fileOf(end) ?? end)
    if (entry?.kind !== 'file' || entry.sha256 === undefined) return null
    return (entry.spots ?? []).length > 0 ? { of: entry.path } : { sha256: entry.sha256 }
  }

  link(path: string): ReturnType<Contents['link']> {
    const at = follow(this.nodes, path, false)
    const node = at === null ? undefined : this.nodes.get(at)
    if (at === null || node?.kind !== 'symlink') return null
    const text = node.target ?? ''
    return { text, was: this.finished.tree.linkText(at) ?? text }
  }
}

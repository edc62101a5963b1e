/**
 * Archives made by others, first of all by conda-pack, as a source to deploy from. One pass over the archive: what its records say
 * when a file comes is done while the file is written; what is only known at the end is done in a second, small phase. The result is
 * what tar and conda-unpack would give, and more of it is relocated: see ForeignFacts.
 */
import { unlinkSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { readUnpacker, type Unpacker, unpackHelper, unpackScript } from '../archive/conda-pack.js'
import type { Batch, Decoded, Member } from '../archive/decode.js'
import type { Limits } from '../archive/limits.js'
import { pycSource } from '../conda/noarch.js'
import { originByScripts } from '../conda/origin.js'
import { EnvError, fromSystem } from '../errors.js'
import { type BatchAnswer, type MaterializeEntry, native, type Rewrite } from '../native.js'
import { type LinkOrDirectory, plainNodes } from '../plain-nodes.js'
import { makeFolders } from '../tree/folders.js'
import { both } from './foreign/both.js'
import { doubtsOf, type ForeignFacts } from './foreign/facts.js'
import { isRecord, Knowledge } from './foreign/knowledge.js'
import { finishMeta, isMeta } from './foreign/meta.js'
import { originsByNotes } from './foreign/origin.js'
import { Records } from './foreign/records.js'
import { isPackages, read, readHead, relocate, study } from './foreign/relocate.js'
import { headBytes } from './foreign/scripts.js'
import { type Opening, openSupply, type Supply } from './foreign/supply.js'
import { ForeignTree, type Placed } from './foreign/tree.js'
import { type Admitted, Writer } from './foreign/writer.js'
import { indexOf, ownFolder } from './ready.js'
import { byPathWarning, type Source, type Unpacked, type Unpacking, type UnpackJob } from './source.js'

/** Throws what openSupply throws. */
export async function openForeign(path: string, opening: Opening): Promise<Source> {
  const supply = await openSupply(path, opening)
  const { digest, leastBytes } = supply
  return {
    content: { digest, size: null, leastBytes, longestPrefix: null, name: null, list: async () => [] },
    packedBytes: leastBytes,
    unpack: (job, unpacking) => new Unpack(path, supply, job, unpacking).run(),
  }
}

/** What conda-unpack needs is of no use in a tree that is relocated, and could do harm where one prefix is part of the other. */
const unpackers: readonly string[] = [unpackScript, unpackHelper]

/** The folder of the history and the records, and what is in it. */
const isLate = (path: string): boolean => path === 'conda-meta' || path.startsWith('conda-meta/')

class Unpack {
  private readonly archive: string
  private readonly supply: Supply
  private readonly job: UnpackJob
  private readonly signal: AbortSignal | undefined
  private readonly limits: Limits
  private readonly progress: Unpacking['progress']
  private readonly tree: ForeignTree
  private readonly known: Knowledge
  private readonly records: Records
  private readonly writer: Writer
  /** First bytes of the scripts in `bin`. */
  private readonly heads = new Map<string, string>()
  /** The files of `unpackers`, until it is known whether they are what their names say. */
  private readonly held = new Map<string, MaterializeEntry & { readonly data: Buffer }>()
  private readonly metas = new Set<number>()
  private readonly admitted: Admitted = { numbers: [], modes: [], mtimes: [], rewrites: new Map() }

  constructor(archive: string, supply: Supply, job: UnpackJob, unpacking: Unpacking) {
    this.archive = archive
    this.supply = supply
    this.job = job
    this.signal = unpacking.signal
    this.limits = unpacking.limits
    this.progress = unpacking.progress
    this.tree = new ForeignTree(archive)
    this.known = new Knowledge(this.tree.paths)
    this.records = new Records(this.known)
    this.writer = new Writer(job, unpacking, this.tree.paths)
  }

  /** Throws ARCHIVE_CORRUPT, UNSAFE_PATH, NOT_AN_ENV, ENV_DAMAGED, PREFIX_TOO_LONG, UNSUPPORTED, SOURCE_CHANGED, NO_SPACE, IO, CANCELLED. */
  async run(): Promise<Unpacked> {
    const { tree, known, writer, heads, signal } = this
    const decoded = await this.stream()
    const unpacker = await this.settleUnpacker()
    const homeless = known.finish()
    const origins = this.origins(unpacker)
    const notes = unpacker?.notes ?? []
    const replacedInterpreters = unpacker?.producer.startsWith('conda-pack') === true
    const relocated = await relocate({ tree, known, writer, notes, origins, heads, replacedInterpreters, signal })
    const droppedPyc = this.dropPyc()

    const links = tree.links(origins)
    const rest = [...links, ...tree.directories()]
    const standing = relocated.laterPyc.filter(({ path }) => tree.has(path))
    for (const path of tree.replacedFiles()) writer.delete(path)
    // The folder of the records is to be finished after them.
    const [early, late]: [LinkOrDirectory[], LinkOrDirectory[]] = [[], []]
    for (const entry of rest) (isLate(entry.path) ? late : early).push(entry)
    const [studied, left] = await both(study({ known, writer, signal }, standing, origins), async () => {
      const meta = finishMeta({ tree, known, writer, origins, metas: this.metas, rest, signal })
      const [named] = await both(meta, () => writer.finish(early))
      await both(writer.finish(late), () => this.writeIndex(rest))
      return named
    })
    await this.supply.check()

    const { own, setuid, ...met } = tree.met(links)
    const { restored, kept, keptPyc, unnamed, unfit } = relocated
    const facts: ForeignFacts = {
      format: this.supply.format,
      producer: unpacker?.producer ?? null,
      root: decoded.root,
      origins,
      leftOut: [...(unpacker === null ? [] : this.held.keys()), ...own],
      droppedPyc,
      restoredScripts: restored,
      keptPyc:
        keptPyc.filter((path) => tree.has(path)).length + studied.filter(({ kept: { prefix } }) => prefix > 0).length,
      kept: [...kept, ...left.map((path) => ({ path, count: 1 }))],
      ...met,
    }
    return this.totals(decoded, facts, doubtsOf({ facts, setuid, unnamed, unfit, homeless }))
  }

  private async stream(): Promise<Decoded> {
    const { job, limits, signal, writer } = this
    const own = join(job.root, ownFolder)
    try {
      makeFolders(own)
    } catch (error) {
      throw fromSystem(error, 'cannot make', own)
    }
    const receive = (batch: Batch): Promise<BatchAnswer> => this.receive(batch)
    const { root, prefix, readOnly, threads } = job
    const into = { root, prefix, readOnly, threads }
    // The name of the content, unless the plan needed it already; where it fails, who asks for it is told.
    this.supply.digest().catch(() => {})
    const decoded = await this.supply
      .feed({ into, limits, receive, signal, progress: this.progress })
      .catch((error) => {
        this.records.drop()
        throw error
      })
    this.records.finish()
    this.known.checkLength(prefix)
    writer.keep(this.admitted, decoded.written)
    return decoded
  }

  private async receive({ members, buffer, renamed }: Batch): Promise<BatchAnswer> {
    const { known, admitted } = this
    const { files, again } = this.tree.admit(members)
    const contentOf = ({ at, size }: Member): Buffer => Buffer.from(buffer.buffer, at, size)
    const whole = (member: Member): Buffer | Promise<Buffer> =>
      member.source === undefined ? contentOf(member) : read(member.source)
    for (const { number, member } of files) {
      if (!isMeta(member.path)) continue
      this.metas.add(number)
      if (isRecord(member.path)) this.records.add(member.path, (await whole(member)).toString('utf8'))
    }
    known.checkLength(this.job.prefix)
    const chosen = new Uint32Array(2 * files.length)
    const paths: string[] = []
    const rewritten: { file: number; rewrites: readonly Rewrite[] }[] = []
    let count = 0
    // By index: there are tens of thousands.
    for (let i = 0; i < files.length; i++) {
      const { number, member } = files[i] as Placed
      const { path, mtime, source } = member
      const mode = (member.mode & 0o111) === 0 ? 0o644 : 0o755
      if (path.startsWith('bin/')) {
        if (unpackers.includes(path)) {
          this.held.set(path, { path, kind: 'file', mode, mtime, data: Buffer.from(await whole(member)) })
          continue
        }
        this.noteHead(path, source === undefined ? contentOf(member) : await readHead(source))
      }
      const rewrites = known.rewrites(number)
      if (rewrites.length > 0 && !isRecord(path)) {
        rewritten.push({ file: count, rewrites })
        admitted.rewrites.set(admitted.numbers.length, rewrites)
      }
      chosen[2 * count] = member.number
      chosen[2 * count + 1] = mode
      count++
      if (renamed) paths.push(path)
      admitted.numbers.push(number)
      admitted.modes.push(mode)
      admitted.mtimes.push(mtime)
    }
    return {
      files: chosen.subarray(0, 2 * count),
      paths: renamed ? `${paths.join('//')}//` : null,
      rewrites: rewritten,
      alone: again,
    }
  }

  private noteHead(path: string, content: Buffer): void {
    if (content.toString('latin1', 0, 2) === '#!') this.heads.set(path, content.toString('utf8', 0, headBytes))
    else this.heads.delete(path)
  }

  /** What the packer noted; null: there is no script of a packer we know, and whatever has its name is a file like others. */
  private async settleUnpacker(): Promise<Unpacker | null> {
    const { archive, held, known, tree, writer } = this
    if (known.records === 0) {
      const message = `${archive} holds no conda environment: no record is in a conda-meta folder at its top`
      throw new EnvError('NOT_AN_ENV', message, { path: archive })
    }
    const script = held.get(unpackScript)
    const unpacker = script === undefined ? null : readUnpacker(script.data.toString('utf8'))
    if (unpacker === null) await writer.write([...held.values()])
    else for (const path of held.keys()) tree.leaveOut(path)
    return unpacker
  }

  private origins(unpacker: Unpacker | null): string[] {
    const { paths } = this.tree
    const proven = (path: string): boolean => {
      const number = paths.find(path)
      return number !== undefined && isPackages(this.known, this.writer, number)
    }
    const noted = unpacker === null ? [] : originsByNotes(unpacker.notes, this.known, proven)
    const origins = noted.length > 0 ? noted : originByScripts(this.heads.values())
    return origins.filter((origin) => origin !== this.job.prefix)
  }

  /** Python would compile these again at every start, or trust what they say about the prefix. */
  private dropPyc(): string[] {
    const { tree, writer, job } = this
    const dropped: string[] = []
    const sources = new Set(tree.namesOf(writer.rewrittenFiles()).filter((path) => path.endsWith('.py')))
    if (sources.size === 0) return []
    // Most are ruled out by where they stand: there are ten thousands.
    const folders = new Set([...sources].flatMap((path) => [folderOf(path), cacheOf(folderOf(path))]))
    const isStale = (path: string): boolean =>
      path.endsWith('.pyc') && folders.has(folderOf(path)) && sources.has(pycSource(path) ?? '')
    // Hard links first: what they share can go then.
    const stale = tree.files(isStale).sort((a, b) => Number(tree.fileOf(a) === a) - Number(tree.fileOf(b) === b))
    for (const path of stale) {
      const isFile = writer.node(path) !== undefined
      if (!tree.leaveOut(path)) continue
      if (isFile) removeNow(join(job.root, path))
      writer.delete(path)
      dropped.push(path)
    }
    return dropped.sort()
  }

  /** `rest`: links and directories, which are written meanwhile, or stand already. */
  private async writeIndex(rest: readonly LinkOrDirectory[]): Promise<void> {
    const index = indexOf(this.job.root)
    try {
      const { writer, job } = this
      const bytes = await native().encode(writer.otherEntries(), job.prefix, writer.plainFiles(), plainNodes(rest))
      await writeFile(index, bytes, { flag: 'wx', mode: 0o644 })
    } catch (error) {
      throw error instanceof EnvError ? error : fromSystem(error, 'cannot write', index)
    }
  }

  private totals({ packedBytes }: Decoded, foreign: ForeignFacts, doubts: readonly string[]): Unpacked {
    const byPath = [...this.writer.byPath].filter((path) => this.tree.has(path)).sort()
    return {
      ...this.writer.totals(),
      readBytes: packedBytes,
      trampolines: this.writer.trampolines,
      byPath,
      warnings: [...byPathWarning(byPath), ...doubts],
      foreign,
    }
  }
}

const folderOf = (path: string): string => path.slice(0, path.lastIndexOf('/') + 1)
const cacheOf = (folder: string): string => `${folder}__pycache__/`

/** Of a few that were written just now: Node's own `rm` loads what removes folders first. */
function removeNow(path: string): void {
  try {
    unlinkSync(path)
  } catch (error) {
    throw fromSystem(error, 'cannot remove', path)
  }
}

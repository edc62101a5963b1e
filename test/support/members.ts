/** Members of an archive as src/archive/decode.ts hands them over, with their contents. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Batch, type Decoded, decode, type Member } from '../../src/archive/decode.js'
import { formatOf, type Packing } from '../../src/archive/format.js'
import type { Limits } from '../../src/archive/limits.js'
import type { BatchAnswer, Rewrite } from '../../src/native.js'

export interface Read extends Omit<Member, 'at' | 'source' | 'number'> {
  readonly text: string
}

export const noLimits: Limits = { maxBytes: 2 ** 50, maxFiles: 2 ** 24 }

/** Nothing of a batch is to be written. */
export const nothing: BatchAnswer = { files: new Uint32Array(), paths: null, rewrites: [], alone: false }

/** These members are to be written, by the paths they have here, or by those of the archive. */
export function writing(
  members: readonly Member[],
  mode: number,
  how: { readonly rewrites?: readonly Rewrite[]; readonly alone?: boolean; readonly unnamed?: boolean } = {},
): BatchAnswer {
  const { rewrites = [], alone = false, unnamed = false } = how
  return {
    files: Uint32Array.from(members.flatMap(({ number }) => [number, mode])),
    paths: unnamed ? null : members.map(({ path }) => `${path}//`).join(''),
    rewrites: rewrites.length === 0 ? [] : members.map((_, file) => ({ file, rewrites })),
    alone,
  }
}

export interface Reading {
  readonly threads?: number
  readonly limits?: Limits
  /** Default: content is kept in `text`. */
  readonly use?: (member: Member, content: Buffer) => void
}

/** Reads the archive at `path` whole. An archive without an environment in it is NOT_AN_ENV. */
export async function readMembers(
  path: string,
  { threads = 2, limits = noLimits, use }: Reading = {},
): Promise<{ readonly members: Read[]; readonly decoded: Decoded }> {
  const root = mkdtempSync(join(tmpdir(), 'conda-deploy-root-'))
  const members: Read[] = []
  try {
    const packing = (await formatOf(path)).packing as Packing
    const receive = async (batch: Batch): Promise<BatchAnswer> => {
      for (const member of batch.members) {
        const { at, source, number: _, ...rest } = member
        const data = source === undefined ? Buffer.from(batch.buffer.buffer, at, member.size) : readFileSync(source)
        if (use) use(member, data)
        else members.push({ ...rest, text: data.toString('latin1') })
      }
      return nothing
    }
    const into = { root, prefix: '/unused', readOnly: false, threads }
    const decoded = await decode({ archive: path, packing, into, limits, receive })
    // Made for members larger than a buffer; it must be empty again.
    if (existsSync(join(root, '.conda-deploy'))) rmdirSync(join(root, '.conda-deploy'))
    if (readdirSync(root).length > 0) throw new Error(`left behind: ${readdirSync(root).join(' ')}`)
    return { members, decoded }
  } finally {
    rmSync(root, { recursive: true })
  }
}

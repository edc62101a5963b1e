/**
 * The records of conda-meta, written while the core packs: from what it will say of a sound environment. What turns out otherwise has the
 * records written anew that asked for it. Pure.
 */

import type { Environment } from '../conda/environment.js'
import type { PrefixRecord } from '../conda/record.js'
import { type RecordText, recordText } from '../conda/record-text.js'
import type { Outcome, PackEntry } from '../native.js'
import { contentsOf, type Fate, fateOf } from './contents.js'
import type { Plan } from './plan.js'

/** The texts by their paths, once it is known what the core found. */
export type Drafts = (outcomes: ReadonlyMap<string, Outcome>) => ReadonlyMap<string, RecordText>

interface Draft {
  readonly record: PrefixRecord
  readonly text: RecordText
  /** Entries that it depends on. */
  readonly asked: readonly string[]
}

/** `reserved`: paths that are made later. Throws what recordText throws. */
export function draftRecords(environment: Environment, plan: Plan, reserved: readonly string[]): Drafts {
  const sitePackages = environment.python?.sitePackages ?? ''
  const wanted = new Set(plan.meta.filter(({ kind }) => kind === 'file').map(({ path }) => path))
  const guessed = guess(plan)
  let asked: string[] = []
  const fate = (entry: PackEntry): Fate => guessed.get(entry.path) ?? fateOf(entry, undefined)
  const contents = contentsOf(plan, droppedOf(guessed), fate, reserved, (path) => asked.push(path))
  const drafts: Draft[] = []
  for (const { record } of environment.packages) {
    if (!wanted.has(record.file)) continue
    asked = []
    drafts.push({ record, text: recordText(record, contents, sitePackages), asked })
  }
  return (outcomes) => {
    const wrong = new Set<string>()
    let appeared = false // Nobody could ask for what was thought to be left out.
    for (const entry of plan.entries) {
      if (!guessed.has(entry.path) && !outcomes.has(entry.path)) continue // As thought, without making both answers to see it.
      const [then, now] = [fate(entry), fateOf(entry, outcomes.get(entry.path))]
      if (then === now || keyOf(then) === keyOf(now)) continue
      wrong.add(entry.path)
      appeared ||= then === 'dropped'
    }
    const texts = new Map(drafts.map(({ record, text }) => [record.file, text]))
    if (wrong.size === 0) return texts
    const found = (entry: PackEntry): Fate => fateOf(entry, outcomes.get(entry.path))
    const dropped = [...outcomes.values()].filter((outcome) => outcome.dropped).map(({ path }) => path)
    const contents = contentsOf(plan, dropped, found, reserved)
    for (const { record, asked } of drafts)
      if (appeared || asked.some((path) => wrong.has(path)))
        texts.set(record.file, recordText(record, contents, sitePackages))
    return texts
  }
}

const keyOf = (fate: Fate): string | null => (typeof fate === 'object' ? (fate?.sha256 ?? null) : fate)

/** A file with a placeholder in its package is relocated, and what was compiled from it is left out. */
function guess(plan: Plan): Map<string, Fate> {
  const guessed = new Map<string, Fate>()
  for (const { path, kind, expect, policy, unlessRewritten } of plan.entries) {
    if (kind !== 'file') continue
    if (unlessRewritten !== undefined && guessed.get(unlessRewritten) === 'relocated') guessed.set(path, 'dropped')
    else if (expect?.placeholder !== undefined || policy === 'any') guessed.set(path, 'relocated')
  }
  return guessed
}

const droppedOf = (fates: ReadonlyMap<string, Fate>): string[] =>
  [...fates].filter(([, fate]) => fate === 'dropped').map(([path]) => path)

/** The readers of archives that everybody has: what makes a folder of each format, none of it ours. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'

const runs = (command: string, ...args: string[]): boolean => spawnSync(command, args).error === undefined

/** Programs without which a format can be neither made nor read here. */
const needs: Readonly<Record<string, readonly string[]>> = {
  'tar.zst': ['zstd'],
  'tar.bz2': ['bzip2'],
  'tar.xz': ['xz'],
  zip: ['unzip'],
  squashfs: ['mksquashfs', 'unsquashfs'],
}

export const formats = ['tar.zst', 'tar', 'tar.gz', 'tar.bz2', 'tar.xz', 'zip', 'squashfs', 'no-archive'] as const
export type Format = (typeof formats)[number]

/** Formats that can be tried here; what is left out is said once. */
export const possible: readonly Format[] = formats.filter((format) => {
  const missing = (needs[format] ?? []).filter((command) => !runs(command, '--version'))
  if (missing.length > 0)
    process.stderr.write(`skipped: ${format}, because ${missing.join(' and ')} is not installed\n`)
  return missing.length === 0
})

export const has = (command: string): boolean => runs(command, '--version')

export const unpackers: Readonly<Record<string, (archive: string, target: string) => void>> = {
  'tar.zst': (archive, target) => tar(['-I', 'zstd', '-xpf', archive], target),
  tar: (archive, target) => tar(['-xpf', archive], target),
  'tar.gz': (archive, target) => tar(['-xpzf', archive], target),
  parcel: (archive, target) => tar(['-xpzf', archive], target),
  'tar.bz2': (archive, target) => tar(['-xpjf', archive], target),
  'tar.xz': (archive, target) => tar(['-xpJf', archive], target),
  zip: (archive, target) => run('unzip', ['-q', archive, '-d', target]),
  squashfs: (archive, target) => run('unsquashfs', ['-q', '-n', '-f', '-d', target, archive]),
  'no-archive': (archive, target) => run('cp', ['-a', `${archive}/.`, target]),
}

const run = (command: string, args: string[]): void => {
  execFileSync(command, args, { stdio: ['ignore', 'ignore', 'pipe'] })
}
const tar = (args: string[], target: string): void => run('tar', [...args, '-C', target])

/** `archive` as a folder at `target`, which must not exist. */
export function unpack(format: string, archive: string, target: string): string {
  mkdirSync(target)
  unpackers[format]?.(archive, target)
  return target
}

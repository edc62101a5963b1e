/** Lock files of conda-lock (version 1): what of them is for one platform. Pure. https://conda.github.io/conda-lock/ */
import { EnvError } from '../errors.js'

export interface Locked {
  /** Lines of an explicit list: addresses with hashes. */
  readonly urls: readonly string[]
  /** Lines of a requirements file, complete. */
  readonly pip: readonly string[]
  readonly notes: readonly string[]
}

/** What `conda-lock install` takes when it is not told otherwise. */
const categories = new Set(['main', 'dev'])

/** Throws UNSUPPORTED for other lock files, INVALID_SPEC for entries that are none and for a platform that is not locked. */
export function lockedPackages(document: Readonly<Record<string, unknown>>, file: string, platform: string): Locked {
  const { version, package: packages } = document
  if (!Array.isArray(packages) || version !== 1) {
    const what = Array.isArray(packages) ? `version ${String(version)} of conda-lock` : 'another tool'
    const hint = 'write it as conda-lock version 1, or as an explicit list'
    throw new EnvError('UNSUPPORTED', `${file} is a lock file of ${what}: only version 1 of conda-lock is read`, {
      ...{ path: file, hint },
    })
  }
  const entries = packages.map((item, number) => entryOf(item, number, file))
  const platforms = [...new Set(entries.map((entry) => entry.platform))]
  const here = entries.filter((entry) => entry.platform === platform)
  if (here.length === 0 && platforms.length > 0)
    throw new EnvError('INVALID_SPEC', `${file} is locked for ${platforms.join(', ')}, not for ${platform}`, {
      ...{ path: file, hint: `lock it again, with --platform ${platform}` },
    })
  const taken = here.filter(({ category }) => categories.has(category))
  const others = [...new Set(here.map(({ category }) => category))].filter((category) => !categories.has(category))
  const notes = others.map((category) => `${file}: what is of category '${category}' is left out`)
  return {
    urls: taken.filter(({ manager }) => manager === 'conda').map(({ url, hashes }) => [url, ...hashes].join('#')),
    pip: taken.filter(({ manager }) => manager === 'pip').map((entry) => requirement(entry)),
    notes,
  }
}

interface Entry {
  readonly name: string
  readonly manager: 'conda' | 'pip'
  readonly platform: string
  readonly category: string
  readonly url: string
  /** `sha256:…` and `md5:…`. */
  readonly hashes: readonly string[]
}

function entryOf(item: unknown, number: number, file: string): Entry {
  const raw = (typeof item === 'object' && item !== null ? item : {}) as Readonly<Record<string, unknown>>
  const bad = (what: string): EnvError =>
    new EnvError(
      'INVALID_SPEC',
      `${file}: package ${number + 1}${raw['name'] ? ` (${String(raw['name'])})` : ''}: ${what}`,
      { path: file, hint: 'lock it again: conda-deploy export --format conda-lock-v1 writes one, too' },
    )
  const word = (key: string): string => {
    const value = raw[key]
    if (typeof value === 'string' && value !== '' && !/[\s\0]/.test(value)) return value
    throw bad(`expected a text '${key}'`)
  }
  const manager = word('manager')
  if (manager !== 'conda' && manager !== 'pip') throw bad(`expected manager conda or pip, got ${manager}`)
  const hash = (raw['hash'] ?? {}) as Readonly<Record<string, unknown>>
  const hashes = (['md5', 'sha256'] as const).flatMap((key) =>
    typeof hash[key] === 'string' ? `${key}:${hash[key]}` : [],
  )
  if (hashes.length === 0 && manager === 'conda') throw bad("expected a 'hash' with md5 or sha256")
  const category = typeof raw['category'] === 'string' ? raw['category'] : 'main'
  return { name: word('name'), manager, platform: word('platform'), category, url: word('url'), hashes }
}

/** With the hash in the address pip checks it without asking for those of all others too. */
function requirement({ name, url, hashes }: Entry): string {
  const sha256 = hashes.find((hash) => hash.startsWith('sha256:'))?.slice('sha256:'.length)
  const checked = sha256 === undefined || url.includes('#') || url.startsWith('git+') ? '' : `#sha256=${sha256}`
  return `${name} @ ${url}${checked}`
}

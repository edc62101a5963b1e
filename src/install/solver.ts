/**
 * The border of the solver library (@conda-org/rattler, wasm). It fetches for itself, so it is given a web that answers from
 * memory (solver-web.ts); it may abort, so this runs in a thread of its own (solve-worker.ts) and never in that of the caller.
 */
import type { MatchSpec } from '../conda/match-spec.js'
import { printMatchSpec } from '../conda/match-spec.js'
import { type Matches, unnamed } from './candidates.js'
import type { RepoRecord } from './repodata.js'
import { answeringWith } from './solver-web.js'

/** A package the system itself is: `__glibc`, `__cuda`, … */
export interface VirtualPackage {
  readonly name: string
  readonly version: string
  readonly build: string
}

export interface Asked {
  readonly virtual: readonly VirtualPackage[]
  readonly platform: string
  readonly alone: boolean
}

type Rattler = typeof import('@conda-org/rattler')

const base = 'https://channel.invalid/all'

export class Solver {
  private readonly rattler: Rattler
  private readonly versions = new Map<string, InstanceType<Rattler['Version']>>()
  private readonly constraints = new Map<string, InstanceType<Rattler['VersionSpec']>>()

  constructor(rattler: Rattler) {
    this.rattler = rattler
  }

  /** Whether a record is what a spec asks for; the channel is not looked at. */
  readonly matches: Matches = (spec, record) =>
    spec.name === record.name &&
    (spec.version === null || this.inRange(spec.version, record.version)) &&
    (spec.build === null || isLike(spec.build, record.build)) &&
    Object.entries(spec.fields).every(([key, value]) => fieldOf(record, key) === value)

  /**
   * The packages to install: of `records`, and of `installed`, which are preferred where the specs allow them; `alone`: without what they
   * need. Throws a plain text, the solver's explanation, when there is no answer.
   */
  async solve(
    wanted: readonly MatchSpec[],
    records: readonly RepoRecord[],
    installed: readonly RepoRecord[],
    { virtual, platform, alone }: Asked,
  ): Promise<RepoRecord[]> {
    const byUrl = new Map<string, RepoRecord>()
    for (const record of [...records, ...installed]) byUrl.set(urlOf(record), record)
    const locked = [
      ...virtual.map(lockedVirtual(platform)),
      ...installed.map((record) => ({ ...locks(record), ...(alone ? needless : {}) })),
    ]
    const specs = wanted.map((spec) => printMatchSpec(unnamed(spec)))
    const answer = await answeringWith(indexes(records, [platform, 'noarch'], alone), () =>
      this.rattler.simpleSolve(specs, [base], [platform, 'noarch'] as never, locked),
    )
    const urls = answer.map((one) => {
      const { url, packageName } = one
      one.free()
      return { url, packageName }
    })
    return urls
      .filter(({ packageName }) => !packageName.startsWith('__'))
      .map(({ url }) => {
        const record = byUrl.get(url)
        if (record === undefined) throw new Error(`the solver answered with ${url}, which it was not offered`)
        return record
      })
  }

  private inRange(range: string, version: string): boolean {
    const { Version, VersionSpec } = this.rattler
    const constraint = remembered(this.constraints, range, () => new VersionSpec(range, 'lenient'))
    return constraint.matches(remembered(this.versions, version, () => new Version(version)))
  }
}

function remembered<T>(known: Map<string, T>, key: string, make: () => T): T {
  const old = known.get(key)
  if (old !== undefined) return old
  const made = make()
  known.set(key, made)
  return made
}

const urlOf = ({ subdir, fn }: RepoRecord): string => `${base}/${subdir}/${fn}`

function lockedVirtual(platform: string) {
  return ({ name, version, build }: VirtualPackage) => ({
    url: `https://virtual.invalid/${name}`,
    packageName: name,
    version,
    build,
    buildNumber: 0,
    filename: `${name}-${version}-${build}.conda`,
    depends: [],
    subdir: platform,
  })
}

/** Of a package that is taken without what it needs. */
const needless = { depends: [], constrains: [] }

const locks = (record: RepoRecord) => ({
  url: urlOf(record),
  packageName: record.name,
  version: record.version,
  build: record.build,
  buildNumber: record.buildNumber,
  filename: record.fn,
  depends: [...record.depends],
  subdir: record.subdir,
})

function indexes(records: readonly RepoRecord[], subdirs: readonly string[], alone: boolean): Map<string, string> {
  const documents = new Map<string, string>()
  for (const subdir of subdirs) {
    const old: Record<string, unknown> = {}
    const modern: Record<string, unknown> = {}
    for (const record of records) {
      if (record.subdir !== subdir) continue
      // Hashes are checked against our own records, and it accepts none that are malformed.
      const { sha256: _sha256, md5: _md5, ...raw } = record.raw
      const document = {
        ...raw,
        name: record.name,
        version: record.version,
        build: record.build,
        build_number: record.buildNumber,
        depends: record.depends,
        subdir,
        ...(alone ? needless : {}),
      }
      ;(record.fn.endsWith('.conda') ? modern : old)[record.fn] = document
    }
    const index = { info: { subdir }, packages: old, 'packages.conda': modern, repodata_version: 1 }
    documents.set(`${base}/${subdir}/repodata.json`, JSON.stringify(index))
  }
  return documents
}

/** `*` stands for any text; `^…$` is a regular expression, as in conda. */
function isLike(pattern: string, text: string): boolean {
  if (pattern.startsWith('^') && pattern.endsWith('$')) return new RegExp(pattern).test(text)
  const parts = pattern.split('*').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
  return new RegExp(`^${parts.join('.*')}$`).test(text)
}

function fieldOf(record: RepoRecord, key: string): string | null {
  switch (key) {
    case 'build_number':
      return String(record.buildNumber)
    case 'md5':
      return record.md5
    case 'sha256':
      return record.sha256
    case 'url':
      return record.url
    case 'fn':
      return record.fn
    default: {
      const value = record.raw[key]
      return typeof value === 'string' ? value : null
    }
  }
}

/**
 * Match specs, as conda writes them: `channel/subdir::name version build[key=value]`. Parsing only: whether a version satisfies a
 * constraint is decided by the solver's own library. https://docs.conda.io/projects/conda/en/stable/user-guide/concepts/pkg-specs.html
 */
import { EnvError } from '../errors.js'

export interface MatchSpec {
  /** Lower case. */
  readonly name: string
  /** Name or URL of the only channel it may come from; null: any. */
  readonly channel: string | null
  readonly subdir: string | null
  /** Constraint on the version, with its operator, e.g. `>=3.9,<4`, `=3.11`, `==1.2`; null: any. */
  readonly version: string | null
  /** Pattern of the build text; null: any. */
  readonly build: string | null
  /** What stands in brackets, without version, build, channel and subdir: `build_number`, `md5`, `sha256`, `url`, `fn`, … */
  readonly fields: Readonly<Record<string, string>>
}

const nameText = /^[A-Za-z0-9_][A-Za-z0-9_.-]*/

/** Throws INVALID_SPEC naming the text. */
export function parseMatchSpec(text: string): MatchSpec {
  const bad = (why: string): EnvError => new EnvError('INVALID_SPEC', `'${text}' is no match spec: ${why}`)
  const { rest, fields } = brackets(text.replace(/\s#.*$/, '').trim(), bad)
  const { place, spec } = channelOf(rest)
  const found = nameText.exec(spec)
  if (found === null) throw bad(spec === '' ? 'no name is in it' : `'${spec}' does not begin with a name`)
  const name = found[0].toLowerCase()
  if (name.endsWith('-') && spec.length > found[0].length) throw bad(`the name '${found[0]}' ends with a dash`)
  const parts = constraint(spec.slice(found[0].length).trim(), bad)
  const { version, build, channel, subdir, ...others } = fields
  return {
    name,
    channel: channel ?? place?.channel ?? null,
    subdir: subdir ?? place?.subdir ?? null,
    version: version ?? parts.version,
    build: build ?? parts.build,
    fields: others,
  }
}

/** The spec in the form with brackets, without channel and subdir: equal specs give equal texts. */
export function printMatchSpec({ name, version, build, fields }: MatchSpec): string {
  const all: [string, string | null][] = [['version', version], ['build', build], ...Object.entries(fields)]
  const inside = all.flatMap(([key, value]) => (value === null ? [] : [`${key}="${value}"`]))
  return inside.length === 0 ? name : `${name}[${inside.join(',')}]`
}

type Bad = (why: string) => EnvError

/** Takes trailing `[a=b,c='d']` off; several are one. */
function brackets(text: string, bad: Bad): { rest: string; fields: Record<string, string> } {
  const fields: Record<string, string> = {}
  let rest = text
  for (let open = rest.lastIndexOf('['); rest.endsWith(']') && open >= 0; open = rest.lastIndexOf('[')) {
    const inside = rest.slice(open + 1, -1)
    const pairs = /\s*([a-z_0-9]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^,"'\s]+))\s*(?:,|$)/gy
    let end = 0
    for (let pair = pairs.exec(inside); pair !== null; pair = pairs.exec(inside)) {
      fields[pair[1] as string] ??= pair[2] ?? pair[3] ?? (pair[4] as string)
      end = pairs.lastIndex
    }
    if (end < inside.trimEnd().length) throw bad(`expected key=value in '[${inside}]'`)
    rest = rest.slice(0, open).trimEnd()
  }
  if (/[[\]]/.test(rest)) throw bad('its brackets do not end it')
  return { rest, fields }
}

/** `channel::`, `channel/subdir::`, or the address of a package. */
function channelOf(text: string): { place: { channel: string; subdir: string | null } | null; spec: string } {
  const at = text.lastIndexOf('::')
  if (at < 0) return { place: null, spec: text }
  const where = text.slice(0, at).replace(/:$/, '')
  const place = /^(.*)\/(noarch|(?:linux|osx|win|freebsd|zos|emscripten|wasi)-[a-z0-9]+)$/.exec(where)
  const known =
    place === null ? { channel: where, subdir: null } : { channel: place[1] as string, subdir: place[2] as string }
  return { place: known, spec: text.slice(at + 2).trim() }
}

/** `1.2 py_0`, `=1.2=py_0`, `==1.2`, `>=1,<2 py*`; a version alone after a blank is exact, after one `=` the beginning of one. */
function constraint(text: string, bad: Bad): { version: string | null; build: string | null } {
  if (text === '' || text === '*') return { version: null, build: null }
  const spaced = text.replace(/\s*([,|])\s*/g, '$1').replace(/([<>=!~])\s+/g, '$1')
  const words = spaced.split(/\s+/)
  if (words.length > 2) throw bad(`expected a version and a build, got '${text}'`)
  const [first = '', second = null] = words
  if (second !== null) return { version: first === '*' ? null : exact(first), build: second === '*' ? null : second }
  const three = /^={1,2}([^=<>!~,|]+)=([^=]+)$/.exec(first)
  if (three !== null) {
    const [, version = '', build = ''] = three
    return { version: version === '*' ? null : exact(version), build: build === '*' ? null : build }
  }
  if (first.startsWith('==') || !first.startsWith('=')) return { version: exact(first), build: null }
  return { version: first === '=' ? null : first.endsWith('*') ? exact(first.slice(1)) : first, build: null }
}

/** A bare version means that one. */
const exact = (version: string): string => (/^[A-Za-z0-9_.!+-]+$/.test(version) ? `==${version}` : version)

/** Include and exclude patterns over relative paths, with the semantics of Python's `fnmatch` (which conda-pack uses). Pure. */

export interface Filter {
  readonly kind: 'exclude' | 'include'
  /** `*` any characters, `/` too; `?` one; `[…]`, `[!…]` one of a set. Case matters; the whole path has to match. */
  readonly pattern: string
}

/**
 * Whether a path is left out: filters apply in their order, `exclude` takes out what matches, `include` takes back what an earlier
 * `exclude` took. Without filters nothing is left out.
 */
export function excludes(filters: readonly Filter[]): (path: string) => boolean {
  const rules = filters.map(({ kind, pattern }) => ({ out: kind === 'exclude', matches: fnmatch(pattern) }))
  return (path) => {
    let out = false
    for (const rule of rules) if (rule.out !== out && rule.matches.test(path)) out = rule.out
    return out
  }
}

/** A pattern as a regular expression that has to match the whole text. A `[` without its `]` stands for itself. */
export function fnmatch(pattern: string): RegExp {
  const chars = [...pattern]
  let source = ''
  for (let i = 0; i < chars.length; i++) {
    const char = chars[i] as string
    if (char === '*') source += '.*'
    else if (char === '?') source += '.'
    else if (char === '[') {
      const negated = chars[i + 1] === '!'
      const start = negated ? i + 2 : i + 1
      // A `]` that comes first is a member of the set.
      const end = chars.indexOf(']', start + 1)
      if (end < 0) source += literal(char)
      else {
        source += set(chars.slice(start, end), negated)
        i = end
      }
    } else source += literal(char)
  }
  return new RegExp(`^${source.replaceAll(/(\.\*)+/g, '.*')}$`, 'su')
}

const literal = (char: string): string => `\\u{${(char.codePointAt(0) as number).toString(16)}}`

function set(members: readonly string[], negated: boolean): string {
  let body = ''
  for (let i = 0; i < members.length; i++) {
    const from = members[i] as string
    const to = members[i + 1] === '-' ? members[i + 2] : undefined
    if (to === undefined) body += literal(from)
    else {
      // A range that runs backwards holds nothing.
      if ((from.codePointAt(0) as number) <= (to.codePointAt(0) as number)) body += `${literal(from)}-${literal(to)}`
      i += 2
    }
  }
  if (body === '') return negated ? '.' : '(?!)'
  return `[${negated ? '^' : ''}${body}]`
}

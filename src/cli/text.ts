/** Numbers and small tables as people read them. Pure. */

const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'] as const

/** Three significant digits and a decimal unit: `1.23 MB`. */
export function bytes(count: number): string {
  let value = count
  let unit = 0
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000
    unit++
  }
  return `${unit === 0 ? Math.round(value) : value.toPrecision(3)} ${units[unit]}`
}

/** Thousands apart by a thin rule everyone can paste: `12,345`. Not by toLocaleString, whose first use loads ICU: 15 ms. */
export function count(value: number): string {
  return String(value).replaceAll(/\B(?=(?:\d{3})+$)/g, ',')
}

/** `1 file`, `2 files`. */
export function counted(value: number, one: string, many: string = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`
}

/** `0.012 s`, `3.4 s`, `2 min 05 s`. */
export function duration(seconds: number): string {
  if (seconds < 1) return `${seconds.toFixed(3)} s`
  if (seconds < 99.95) return `${seconds.toFixed(1)} s`
  const whole = Math.round(seconds)
  return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, '0')} s`
}

/** Names in a column, what belongs to them in the next; rows without a value are left out. */
export function aligned(rows: readonly (readonly [name: string, value: string | undefined])[]): string {
  const shown = rows.filter((row) => row[1] !== undefined && row[1] !== '')
  const width = Math.max(0, ...shown.map(([name]) => name.length))
  return shown.map(([name, value]) => `${name.padEnd(width)}  ${printable(value ?? '')}`).join('\n')
}

/** Controls, and what turns the direction of text: a name from an archive could write on the terminal with them, or look like another. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const controls = /[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069\ud800-\udfff]/gu

/** A name as one line that a terminal only shows: what would do something stands as `\x1b` or `\u{202e}`. */
export function printable(name: string): string {
  return name.replace(controls, (char) => {
    const code = char.charCodeAt(0)
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u{${code.toString(16)}}`
  })
}

/** A message that may have names from an archive in it: no line of theirs looks like one of ours, because all but the first are indented. */
export function message(text: string): string {
  return text.split('\n').map(printable).join('\n  ')
}

/** The first `limit` lines, and how many more there are. */
export function firstOf(lines: readonly string[], limit: number): string[] {
  if (lines.length <= limit) return [...lines]
  return [...lines.slice(0, limit), `… and ${count(lines.length - limit)} more`]
}

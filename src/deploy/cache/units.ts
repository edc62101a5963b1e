/** Sizes and spans of time as people write them: `50G`, `14d`. Pure. */

const sizes: Readonly<Record<string, number>> = {
  ...{ '': 1, k: 1e3, M: 1e6, G: 1e9, T: 1e12 },
  ...{ Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40 },
}
const spans: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 }

/** Bytes of `50G`, `1.5Ti`, `4096`, with or without a closing `B`; null: it is no size. */
export function sizeOf(text: string): number | null {
  return times(text, /^(\d{1,15}(?:\.\d{1,3})?)((?:[kMGT]|[KMGT]i)?)B?$/, sizes)
}

/** Seconds of `90s`, `30m`, `12h`, `14d`, `2w`; null: it is no span. */
export function spanOf(text: string): number | null {
  return times(text, /^(\d{1,9}(?:\.\d{1,3})?)([smhdw])$/, spans)
}

function times(text: string, pattern: RegExp, units: Readonly<Record<string, number>>): number | null {
  const [, number, unit = ''] = pattern.exec(text) ?? []
  return number === undefined ? null : Math.floor(Number(number) * (units[unit] ?? 1))
}

/** Until when a package must have been published: `--exclude-newer` and `exclude_newer`, in conda's forms. Pure. */
import { EnvError } from '../errors.js'

const units: Readonly<Record<string, number>> = { w: 604_800, d: 86_400, h: 3600, m: 60, s: 1 }

/**
 * Milliseconds since 1970 at which packages are too new: a date means the end of that day (UTC), a moment itself, a span of time
 * (`7d`, `1w2d`, `P7D`, `36h`, seconds) that long before `now`. Throws INVALID_OPTION.
 */
export function cutoff(text: string, now: number = Date.now()): number {
  const value = text.trim()
  const span = spanOf(value)
  if (span !== null) return now - span * 1000
  const day = /^\d{4}-\d{2}-\d{2}$/.test(value)
  // A moment without a zone is UTC, as channels count.
  const moment = day || /(?:Z|[+-]\d{2}:?\d{2})$/i.test(value) ? value : `${value}Z`
  const at = /^\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}|$)/.test(value) ? Date.parse(moment.replace(' ', 'T')) : Number.NaN
  if (Number.isNaN(at)) {
    const hint = 'write it as 2026-04-01, 2026-04-01T12:00:00Z or 7d'
    throw new EnvError('INVALID_OPTION', `exclude-newer: '${text}' is neither a date nor a span of time`, { hint })
  }
  return day ? at + 86_400_000 : at
}

/** Seconds; null: no span. */
function spanOf(value: string): number | null {
  if (/^\d+(\.\d+)?$/.test(value)) return Number(value)
  const iso = /^P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?$/i.exec(value)
  if (iso !== null && /\d/.test(value))
    return Object.values(units).reduce((sum, unit, i) => sum + Number(iso[i + 1] ?? 0) * unit, 0)
  if (!/^(?:\d+[wdhms])+$/i.test(value)) return null
  const parts = [...value.toLowerCase().matchAll(/(\d+)([wdhms])/g)]
  return parts.reduce((sum, [, count, unit]) => sum + Number(count) * (units[unit ?? ''] ?? 0), 0)
}

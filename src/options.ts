/** Options objects of verbs are checked by name and type, so that a misspelt key is refused instead of ignored. */
import { EnvError } from './errors.js'

type Type = 'string' | 'boolean' | 'number' | 'strings' | 'object'
export type Shape<T> = { readonly [K in keyof Required<T>]: Type }

function fits(value: unknown, type: Type): boolean {
  if (type === 'strings') return Array.isArray(value) && value.every((v) => typeof v === 'string')
  if (type === 'number') return typeof value === 'number' && Number.isFinite(value)
  if (type === 'object') return typeof value === 'object' && value !== null
  return typeof value === type
}

/** Throws INVALID_OPTION for a key that `shape` does not know or a value of another type; undefined counts as absent. */
export function checkOptions<T extends object>(verb: string, options: T, shape: Shape<T>): void {
  for (const [key, value] of Object.entries(options)) {
    if (!Object.hasOwn(shape, key)) {
      const known = Object.keys(shape).join(', ')
      throw new EnvError('INVALID_OPTION', `${verb}: unknown option '${key}'; known are ${known}`)
    }
    const type = shape[key as keyof T]
    if (value !== undefined && !fits(value, type))
      throw new EnvError(
        'INVALID_OPTION',
        `${verb}: option '${key}' must be ${type === 'strings' ? 'an array of strings' : `a ${type}`}, got ${typeof value}`,
      )
  }
}

/** Lists too long to be objects: an item is made when it is asked for, from columns. An array is a list too. */
export interface List<T> extends Iterable<T> {
  readonly length: number
  at(index: number): T | undefined
}

/** Entries from which on objects of all take more than their making, and garbage of planning is worth a tenth of a second: 300 MB for 290,000. */
export const many = 50_000

/** `item`: makes the item of a number, from 0 to `length` - 1. */
export function lazyList<T>(length: number, item: (index: number) => T): List<T> {
  return {
    length,
    at: (index) => (index >= 0 && index < length ? item(index) : undefined),
    *[Symbol.iterator]() {
      for (let index = 0; index < length; index++) yield item(index)
    },
  }
}

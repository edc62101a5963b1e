/** Paths by number: what members, records and written files say of one path stands in columns, and is found by one look. Pure. */

export class Paths {
  private readonly numbers = new Map<string, number>()
  private readonly texts: string[] = []

  /** Of the path that was numbered before. */
  private last = 0

  /** A new one for what was not named yet. */
  number(path: string): number {
    // What names many names them in the order of others: a comparison is a fifth of a look.
    const next = this.last + 1
    if (this.texts[next] === path) {
      this.last = next
      return next
    }
    const known = this.numbers.get(path)
    if (known !== undefined) {
      this.last = known
      return known
    }
    this.last = this.texts.length
    this.numbers.set(path, this.last)
    this.texts.push(path)
    return this.last
  }

  find(path: string): number | undefined {
    return this.numbers.get(path)
  }

  text(number: number): string {
    return this.texts[number] as string
  }
}

/** What is known of paths, by their numbers. */
export class Column<T> {
  private readonly values: (T | undefined)[] = []

  get(number: number | undefined): T | undefined {
    return number === undefined ? undefined : this.values[number]
  }

  set(number: number, value: T | undefined): void {
    // Without holes: an array with large ones becomes a table of hashes.
    while (this.values.length < number) this.values.push(undefined)
    this.values[number] = value
  }

  /** Ascending by number. No generator: there are tens of thousands. */
  each(use: (value: T, number: number) => void): void {
    for (let number = 0; number < this.values.length; number++) {
      const value = this.values[number]
      if (value !== undefined) use(value, number)
    }
  }
}

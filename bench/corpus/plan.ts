/** A made-up environment, drawn from the histograms of a real one: which files, how large, how deep, which hold the prefix. Pure and seeded. */
import profile from './profile.json' with { type: 'json' }

export interface PlannedFile {
  readonly path: string
  readonly kind: Kind
  readonly executable: boolean
  /** Bytes, without what the prefixes in it add. */
  readonly size: number
  /** Places that hold the prefix. */
  readonly places: number
  readonly package: string
}

export interface Plan {
  /** Parents before children. */
  readonly directories: readonly string[]
  readonly files: readonly PlannedFile[]
  readonly links: readonly { readonly path: string; readonly target: string }[]
  readonly packages: readonly string[]
}

type Kind = keyof typeof profile.kinds
const kinds = Object.keys(profile.kinds) as Kind[]
const suffix: Readonly<Record<Kind, string>> = { text: '.py', pyc: '.pyc', binary: '.dat', elf: '.so' }

type Random = () => number

/** mulberry32: numbers from 0 to 1, the same for the same seed everywhere. */
function randomFrom(seed: number): Random {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** The value at a quantile, between two known ones on a logarithmic scale: sizes are spread over six orders of magnitude. */
function valueAt(values: readonly number[], quantile: number): number {
  const above = Math.max(
    1,
    profile.quantiles.findIndex((q) => q >= quantile),
  )
  const [q0 = 0, q1 = 1] = profile.quantiles.slice(above - 1, above + 1)
  const [low = 0, high = 0] = values.slice(above - 1, above + 1)
  return (low + 1) * ((high + 1) / (low + 1)) ** ((quantile - q0) / (q1 - q0)) - 1
}

/** An index, each as likely as its weight. */
function weighted(weights: readonly number[], random: Random): number {
  let left = random() * weights.reduce((sum, weight) => sum + weight, 0)
  const found = weights.findIndex((weight) => {
    left -= weight
    return left < 0
  })
  return Math.max(0, found)
}

const syllables = [
  'ba',
  'con',
  'der',
  'el',
  'for',
  'gra',
  'in',
  'ker',
  'lo',
  'mat',
  'num',
  'op',
  'pro',
  'ran',
  'sci',
  'ten',
  'util',
  'vec',
]

function word(random: Random): string {
  const length = 2 + Math.floor(random() * 3)
  return Array.from({ length }, () => syllables[Math.floor(random() * syllables.length)]).join('')
}

/** A directory and how many files are still to be put into it. */
interface Room {
  readonly path: string
  readonly package: string
  left: number
}

/** Directories by depth, with room for the files that the profile has there. */
function makeRooms(files: number, packages: readonly string[], random: Random): Room[][] {
  const rooms: Room[][] = [[], []]
  const perFile = files / profile.files
  profile.filesByDepth.forEach((count, depth) => {
    const here: Room[] = rooms[depth] ?? []
    rooms[depth] = here
    let wanted = Math.ceil(count * perFile)
    // Every level has a directory, so that the next one has a parent.
    while (depth > 0 && (wanted > 0 || here.length === 0)) {
      const parents = rooms[depth - 1] ?? []
      const parent = parents[Math.floor(random() * parents.length)]
      // The first level is small, as it is everywhere: bin, lib, share, …
      const name = `${word(random)}${here.length}`
      const own = parent?.package ?? packages[here.length % packages.length] ?? 'base'
      const left = Math.min(wanted, Math.max(1, Math.round(valueAt(profile.filesPerDirectory, random()))))
      here.push({
        path: parent === undefined ? name : `${parent.path}/${name}`,
        package: depth < 3 ? (packages[Math.floor(random() * packages.length)] ?? own) : own,
        left,
      })
      wanted -= left
    }
  })
  return rooms
}

/** `files` files of `bytes` bytes in all. */
export function planEnvironment(files: number, bytes: number, seed: number): Plan {
  const random = randomFrom(seed)
  const packages = Array.from(
    { length: Math.ceil((profile.packages * files) / profile.files) },
    (_, i) => `${word(random)}${i}`,
  )
  const rooms = makeRooms(files, packages, random).flat()
  const weights = kinds.map((kind) => profile.kinds[kind].files)
  const planned: PlannedFile[] = []
  for (const room of rooms) {
    for (let n = 0; n < room.left && planned.length < files; n++) {
      const kind = kinds[weighted(weights, random)] ?? 'text'
      const { files: all, executable, withPrefix, places, sizes } = profile.kinds[kind]
      planned.push({
        path: `${room.path}/${word(random)}${n}${suffix[kind]}`,
        kind,
        executable: random() < executable / all,
        size: valueAt(sizes, random()),
        places: random() < withPrefix / all ? (places[Math.floor(random() * places.length)] ?? 1) : 0,
        package: room.package,
      })
    }
  }
  const scale = bytes / planned.reduce((sum, file) => sum + file.size, 0)
  const links = Array.from({ length: Math.round((profile.links * files) / profile.files) }, (_, i) => {
    const file = planned[Math.floor(random() * planned.length)]
    const name = file?.path.split('/').at(-1) ?? ''
    return { path: `${file?.path}.link${i}`, target: name }
  })
  return {
    directories: rooms.map(({ path }) => path),
    files: planned.map((file) => ({ ...file, size: Math.round(file.size * scale) })),
    links,
    packages,
  }
}

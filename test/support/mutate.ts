/** Damage of every kind to a run of bytes: what disks, networks and tools that stop half-way do, and worse. */
import type { Random } from './random.js'

type Mutation = (bytes: Buffer, random: Random) => Buffer

/** A stretch: mostly short, sometimes long. */
function stretch(bytes: Buffer, random: Random): [begin: number, end: number] {
  const begin = random.below(bytes.length)
  const length = 1 + random.below(random.pick([1, 4, 16, 300, bytes.length]))
  return [begin, Math.min(bytes.length, begin + length)]
}

function changed(bytes: Buffer, change: (copy: Buffer) => void): Buffer {
  const copy = Buffer.from(bytes)
  change(copy)
  return copy
}

/** Half of all damage goes to the end, where the tables are. */
const place = (bytes: Buffer, random: Random, room: number): number => {
  const last = Math.max(1, bytes.length - room)
  return random.below(2) === 0 ? random.below(last) : last - 1 - random.below(Math.min(last, 400))
}

const extremes = [0, 1, 0x7f, 0x80, 0xff, 0xffff, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff]

export const mutations: Readonly<Record<string, Mutation>> = {
  'bit flipped': (bytes, random) =>
    changed(bytes, (copy) => {
      const at = place(copy, random, 1)
      copy[at] = (copy[at] as number) ^ (1 << random.below(8))
    }),
  'bytes replaced': (bytes, random) =>
    changed(bytes, (copy) => {
      const [begin, end] = stretch(copy, random)
      random.bytes(end - begin).copy(copy, begin)
    }),
  'bytes zeroed': (bytes, random) => changed(bytes, (copy) => void copy.fill(0, ...stretch(copy, random))),
  'length changed': (bytes, random) =>
    changed(bytes, (copy) => {
      const at = place(copy, random, 4)
      const value = random.below(2) === 0 ? random.pick(extremes) : copy.readUInt32LE(at) + random.below(17) - 8
      copy.writeUInt32LE(value >>> 0, at)
    }),
  'cut off': (bytes, random) => bytes.subarray(0, place(bytes, random, 0)),
  'bytes lost': (bytes, random) => {
    const [begin, end] = stretch(bytes, random)
    return Buffer.concat([bytes.subarray(0, begin), bytes.subarray(end)])
  },
  'bytes put in': (bytes, random) => {
    const at = place(bytes, random, 0)
    return Buffer.concat([bytes.subarray(0, at), random.bytes(1 + random.below(40)), bytes.subarray(at)])
  },
  'bytes appended': (bytes, random) => Buffer.concat([bytes, random.bytes(1 + random.below(40))]),
  'bytes said twice': (bytes, random) => {
    const [begin, end] = stretch(bytes, random)
    return Buffer.concat([bytes.subarray(0, end), bytes.subarray(begin)])
  },
  spliced: (bytes, random) =>
    changed(bytes, (copy) => {
      const [begin, end] = stretch(bytes, random)
      copy.copy(copy, random.below(copy.length), begin, end)
    }),
}

/** One mutation, which changes something; its name, and the bytes. */
export function mutate(bytes: Buffer, random: Random): { readonly name: string; readonly bytes: Buffer } {
  for (;;) {
    const name = random.pick(Object.keys(mutations))
    const mutated = mutations[name]?.(bytes, random) ?? bytes
    if (!mutated.equals(bytes)) return { name, bytes: mutated }
  }
}

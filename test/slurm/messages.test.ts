/** What nodes say comes in pieces, in any mixture with that of others. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type FromNode, linesFor, listener } from '../../src/slurm/messages.js'

const failed = (message: string): FromNode => ({
  is: 'done',
  result: { status: 'failed', code: 'IO', message, warnings: [] },
})

test('lines are short, whole messages come out, whatever stands between them', () => {
  fc.assert(
    fc.property(
      fc.array(fc.string({ unit: 'binary', maxLength: 3000 }), { minLength: 1, maxLength: 4 }),
      fc.nat(),
      (texts, seed) => {
        const said = texts.map((text, i) => linesFor(`node-${i}.x`, failed(text)).split(/(?<=\n)/))
        for (const line of said.flat()) expect(Buffer.byteLength(line)).toBeLessThan(1000)
        let mixed = 'slurmstepd: info: something\n@node?\n'
        for (let next = seed; said.some((lines) => lines.length > 0); next++)
          mixed += said[next % said.length]?.shift() ?? ''
        const heard = new Map<string, FromNode>()
        const others: string[] = []
        const hear = listener(
          (node, message) => heard.set(node, message),
          (line) => others.push(line),
        )
        for (let at = 0; at < mixed.length; at += 1 + (seed % 50)) hear(mixed.slice(at, at + 1 + (seed % 50)))
        expect([...heard.values()].map((message) => JSON.stringify(message)).sort()).toEqual(
          texts.map((text) => JSON.stringify(JSON.parse(JSON.stringify(failed(text))))).sort(),
        )
        expect(others).toEqual(['slurmstepd: info: something', '@node?'])
      },
    ),
    { numRuns: 60 },
  )
})

test('a line that only looks like a message is passed on', () => {
  const others: string[] = []
  listener(
    () => expect.unreachable(),
    (line) => others.push(line),
  )('@node1.{"is":\n')
  expect(others).toEqual(['@node1.{"is":'])
})

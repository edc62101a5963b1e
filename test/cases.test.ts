/** The table of cases in test/README.md tells the truth: what it names is there and shows the case. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { expect, test } from 'vitest'

const root = resolve(import.meta.dirname, '..')
const cases = 51

interface Row {
  readonly number: number
  readonly text: string
  readonly files: readonly string[]
}

const rows = [...readFileSync(join(root, 'test/README.md'), 'utf8').matchAll(/^\| (\d+) \| (.+) \| (.+) \|$/gm)].map(
  ([, number, , where = '']): Row => ({
    number: Number(number),
    text: where,
    files: [...where.matchAll(/`(test\/[^`]+)`/g)].map(([, file = '']) => file),
  }),
)

/** Cases that a file shows: in titles of its tests and of their groups, or in comments of the core's. */
function shownIn(file: string): Set<number> {
  const text = readFileSync(join(root, file), 'utf8')
  const lines = text.split('\n').filter((line) => (file.endsWith('.cc') ? /^\s*\/\/ / : /['"`]case \d/).test(line))
  return new Set([...lines.join('\n').matchAll(/\bcase (\d+)\b/g)].map(([, number]) => Number(number)))
}

test('every case has one row, in order', () => {
  expect(rows.map(({ number }) => number)).toEqual(Array.from({ length: cases }, (_, i) => i + 1))
})

test('a row names tests, or whose the case is', () => {
  const none = rows.filter(({ text, files }) => files.length === 0 && !/^(?:issue|platform): /.test(text))
  expect(none).toEqual([])
})

test('the files that a row names are there and show its case', () => {
  const wrong = rows.flatMap(({ number, files }) =>
    files
      .filter((file) => !existsSync(join(root, file)) || !shownIn(file).has(number))
      .map((file) => `${number}: ${file}`),
  )
  expect(wrong).toEqual([])
})

test('a case that a title names is one of the table', () => {
  const files = readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' })
  const named = files.filter((file) => /\.(?:test\.ts|cc)$/.test(file)).flatMap((file) => [...shownIn(`test/${file}`)])
  expect(named.filter((number) => number < 1 || number > cases)).toEqual([])
  expect(named.length).toBeGreaterThan(20)
})

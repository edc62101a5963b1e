/** Records of which nothing is kept but what is kept of all files are judged as if they were still there. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseRecord } from '../../src/conda/record.js'
import { type Contents, newHashes, ownPaths } from '../../src/conda/record-text.js'
import { Knowledge } from '../../src/deploy/foreign/knowledge.js'

const path = fc.constantFrom('lib/a', 'lib/b', 'lib/c', 'site-packages/d.py', 'lib/python3.12/site-packages/d.py')
const hash = fc.constantFrom('a'.repeat(64), 'b'.repeat(64))
const sometimes = <T>(what: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.oneof(fc.constant(undefined), { arbitrary: what, weight: 3 })

const item = fc
  .tuple(path, sometimes(hash), fc.constantFrom('same', 'same', 'same', 'none', 'b'), fc.constantFrom(true, false))
  .map(([_path, sha256, installed, isMade]) => ({
    ...{ _path, sha256, path_type: isMade && sha256 === undefined ? 'unix_python_entry_point' : 'hardlink' },
    sha256_in_prefix: installed === 'same' ? sha256 : installed === 'none' ? undefined : installed.repeat(64),
  }))
const record = fc
  .tuple(fc.constantFrom('p', 'q', 'python'), fc.constantFrom(null, null, 'python'), fc.array(item), sometimes(path))
  .map(([name, noarch, paths, more]) => {
    const files = [...paths.map(({ _path }) => _path), ...(more === undefined ? [] : [more])]
    return JSON.stringify({ name, version: '3.12.1', noarch, files, paths_data: { paths } })
  })

test('what is not true any more is found, whatever several packages say of one file', () => {
  const standing = fc.dictionary(path, hash)
  fc.assert(
    fc.property(fc.array(record, { minLength: 1, maxLength: 4 }), standing, (texts, files) => {
      const known = new Knowledge()
      for (const [i, text] of texts.entries()) known.add(`conda-meta/${i}.json`, text)
      const contents: Contents = {
        has: (of) => of in files,
        hash: (of) => (of in files ? { sha256: files[of] as string } : null),
        link: () => null,
      }
      const stands = (of: string, sha256: string | undefined): boolean =>
        sha256 === undefined ? of in files : files[of] === sha256
      for (const [i, text] of texts.entries()) {
        const name = `conda-meta/${i}.json`
        if (known.finish().length > 0) return
        const whole = parseRecord(name, text)
        const owned = ownPaths(whole, known.sitePackages)
        const found = known.newHashes(
          name,
          contents,
          (number, sha256) => stands(known.paths.text(number), sha256),
          () => whole,
        )
        expect(found).toEqual(
          newHashes(
            whole,
            (k) => owned[k] as string,
            contents,
            (k, sha256) => stands(owned[k] as string, sha256),
          ),
        )
      }
    }),
    { numRuns: 2000 },
  )
})

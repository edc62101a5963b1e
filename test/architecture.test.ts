/**
 * The shape of the house, held: which way imports run, who may load the addon, print, exit or publish, and how large a file may grow.
 * Adding a folder means adding it to `layers`; a rule changes here and in CONTRIBUTING.md together.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import manifest from '../package.json' with { type: 'json' }
import { version } from '../src/version.js'

const root = resolve(import.meta.dirname, '..')

/** Folders of src by layer; files directly in src are layer 0, except index.ts, which only exports. */
const layers: Readonly<Record<string, number>> = {
  tree: 1,
  conda: 2,
  prefix: 2,
  archive: 2,
  pack: 3,
  deploy: 3,
  install: 3,
  trace: 3,
  slurm: 4,
  cli: 5,
}

/** The file in each folder that says what lives there. */
const mainFiles: Readonly<Record<string, string>> = {
  tree: 'entry.ts',
  conda: 'environment.ts',
  prefix: 'plan.ts',
  archive: 'format.ts',
  pack: 'pack.ts',
  deploy: 'deploy.ts',
  install: 'solve.ts',
  trace: 'trace.ts',
  slurm: 'prolog.ts',
  cli: 'main.ts',
}

function filesBeneath(folder: string, suffixes: readonly string[]): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => suffixes.some((suffix) => name.endsWith(suffix)))
    .map((name) => `${folder}/${name}`)
    .sort()
}

const read = (path: string): string => readFileSync(join(root, path), 'utf8')
/** Code without comments and without the contents of strings that stand in them; good enough to look for names. */
const code = (path: string): string =>
  read(path)
    .replaceAll(/\/\*[\s\S]*?\*\//g, '')
    .replaceAll(/^\s*\/\/.*$/gm, '')

/** Made from the scripts that stand beside it: neither its length nor its words are ours. */
const generated = 'src/pack/scripts/texts.ts'
const sources = filesBeneath('src', ['.ts']).filter((path) => path !== generated)
const native = filesBeneath('native', ['.cc', '.h'])
const folderOf = (path: string): string => (path.split('/').length === 2 ? '' : (path.split('/')[1] ?? ''))

/** Relative imports, static, dynamic and type-only, as paths from the root. */
function importsOf(path: string): string[] {
  const found = [...read(path).matchAll(/(?:\bfrom|\bimport)\s*\(?\s*'(\.[^']*)'/g)].map((match) => match[1] ?? '')
  return found.map((specifier) => relative(root, resolve(root, dirname(path), specifier)).replace(/\.js$/, '.ts'))
}

/** The one way up: the native surface is described in terms of Entry, a type. */
const excepted = (from: string, to: string): boolean =>
  ['src/native.ts', 'src/jobs.ts'].includes(from) && to === 'src/tree/entry.ts'

/** Imports that lead neither to the own folder nor to a lower layer. */
function breaches(path: string, imports: readonly string[]): string[] {
  const own = folderOf(path)
  return imports.filter((to) => {
    const other = folderOf(to)
    return other !== own && !excepted(path, to) && (layers[other] ?? 0) >= (layers[own] ?? 0)
  })
}

const naming = (files: readonly string[], pattern: RegExp): string[] => files.filter((path) => pattern.test(code(path)))

describe('imports', () => {
  test('every folder of src has a layer', () => {
    expect([...new Set(sources.map(folderOf))].filter((folder) => folder !== '' && !(folder in layers))).toEqual([])
  })

  test('lead to a file of src that exists', () => {
    const broken = sources.flatMap((path) =>
      importsOf(path)
        .filter((to) => !to.startsWith('src/') || !existsSync(join(root, to)))
        .map((to) => `${path} → ${to}`),
    )
    expect(broken).toEqual([])
  })

  test.each(sources.filter((path) => path !== 'src/index.ts'))(
    '%s imports its own folder and lower layers only',
    (path) => {
      expect(breaches(path, importsOf(path))).toEqual([])
    },
  )

  test('native.ts takes no more than types from above', () => {
    expect(code('src/native.ts').match(/^import (?!type\b).*'\.\/\w+\/.*'/gm)).toBeNull()
  })

  test('nothing imports index.ts, and index.ts only exports', () => {
    expect(sources.filter((path) => importsOf(path).includes('src/index.ts'))).toEqual([])
    const statements = code('src/index.ts').replaceAll(/export (?:type )?(?:\{[^}]*\}|\*) from '[^']*'/g, '')
    expect(statements.trim()).toBe('')
  })

  test('the check sees a breach', () => {
    const sideways = 'src/archive/tar.ts'
    expect(
      breaches('src/conda/record.ts', [sideways, 'src/conda/paths.ts', 'src/tree/entry.ts', 'src/errors.ts']),
    ).toEqual([sideways])
    expect(breaches('src/errors.ts', ['src/tree/entry.ts'])).toEqual(['src/tree/entry.ts'])
    expect(breaches('src/pack/pack.ts', ['src/deploy/publish.ts', 'src/cli/main.ts'])).toHaveLength(2)
  })
})

describe('who may do what', () => {
  test('only native.ts loads the addon', () => {
    expect(naming(sources, /\.node['"`]/)).toEqual(['src/native.ts'])
  })

  test('only cli/ prints or exits', () => {
    const talk = /\bprocess\.(?:stdout|stderr|exit|exitCode)\b|\bconsole\.|\bwriteSync\(\s*[12]\b/
    expect(naming(sources, talk).filter((path) => folderOf(path) !== 'cli')).toEqual([])
    expect(naming(sources, talk).length).toBeGreaterThan(0)
  })

  test('only the publishing files rename', () => {
    const renames = naming(sources, /\brename(?:Sync)?\b[^;]*\bfrom 'node:fs|\)\.rename\(/)
    expect(renames.filter((path) => !publishers.has(path))).toEqual([])
    expect(renames.length).toBeGreaterThan(0)
  })

  test('only the border, the files of native/ itself, knows Node', () => {
    const allowed = /^native\/[^/]+$/
    const knowing = native.filter((path) =>
      /#include\s*[<"](?:napi|node_api|js_native_api|node|v8|uv)\.h[>"]/.test(read(path)),
    )
    expect(knowing.length).toBeGreaterThan(0)
    expect(knowing.filter((path) => !allowed.test(path))).toEqual([])
  })

  test('the core includes nothing from outside of it', () => {
    const wrong = native
      .filter((path) => path.startsWith('native/core/'))
      .filter((path) => /#include\s*"\.\.\//.test(read(path)))
    expect(wrong).toEqual([])
  })
})

/** Files that put a finished thing under its final name. */
const publishers = new Set([
  'src/deploy/publish.ts',
  'src/pack/output.ts',
  'src/tree/replace-file.ts',
  'src/install/fetch.ts',
  'src/install/packages.ts',
  'src/install/stage.ts',
  'src/tree/change.ts',
  'src/slurm/node-task.ts',
])

describe('size and place', () => {
  test.each([...sources, ...native])('%s has at most 400 lines', (path) => {
    expect(read(path).split('\n').length - 1).toBeLessThanOrEqual(400)
  })

  test.each(Object.entries(mainFiles))('src/%s/%s opens by saying what lives here', (folder, file) => {
    expect(read(`src/${folder}/${file}`)).toMatch(/^(?:#!.*\n)?\/\*\*[\s\S]{40,}?\*\//)
  })

  test('both builds of the core take whatever lies in native/', () => {
    expect(read('CMakeLists.txt')).toMatch(/file\(GLOB(?:_RECURSE)?[^)]*native\//i)
    expect(read('binding.gyp')).toMatch(/readdirSync|glob|find native|ls /)
    const named = native.filter((path) => path.endsWith('.cc') && path !== 'native/binding.cc')
    for (const build of ['CMakeLists.txt', 'binding.gyp'])
      expect(
        named.filter((path) => read(build).includes(path)),
        `${build} names`,
      ).toEqual([])
  })

  test('the version is told once', () => {
    expect(version).toBe(manifest.version)
    expect(read('CHANGELOG.md')).toContain(`## ${version}`)
  })

  test('what is installed is what is named', () => {
    const reasons = read('CONTRIBUTING.md')
    const all = Object.keys({ ...manifest.dependencies, ...manifest.devDependencies })
    expect(all.filter((name) => !reasons.includes(`\`${name}\``))).toEqual([])
  })
})

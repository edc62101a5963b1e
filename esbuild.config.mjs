/**
 * Everything JavaScript that is shipped or started: one file each, so that starting touches a handful of files even where the
 * package itself lies on a parallel filesystem. Types are emitted by tsc (tsconfig.build.json).
 */
import { chmodSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { relative } from 'node:path'
import { build } from 'esbuild'
import { foreignFile, inComment, mainFile, maker, mark, verbsFile } from './code-cache.mjs'

/** Bundled CommonJS (commander, tar-stream) calls require for Node's own modules. */
const require =
  "import { createRequire as requireFrom } from 'node:module'\nconst require = requireFrom(import.meta.url)"

/**
 * A built-in module is loaded when one of its functions is first called, not when a module that imports it first runs: commander's
 * child_process (an unused feature) and the verbs' fs/promises cost 7 ms of start-up that `--version` has no use for. Those that Node has loaded
 * before it runs anything are taken as they are.
 */
const there = /^node:(?:fs|path|url|util|events|buffer|process|module)$/
const lazyBuiltins = {
  name: 'lazy-builtins',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^node:/ }, ({ path, namespace }) =>
      namespace === 'builtin' || there.test(path) ? { path, external: true } : { path, namespace: 'builtin' },
    )
    onLoad({ filter: /.*/, namespace: 'builtin' }, async ({ path }) => {
      const names = Object.keys(await import(path)).filter((name) => name !== 'default')
      const define = `Object.defineProperty(exports, name, { get: () => require('${path}')[name], enumerable: true })`
      return { contents: `for (const name of '${names.join(' ')}'.split(' ')) ${define}` }
    })
  },
}

/**
 * The YAML parser is one file beside the bundle: a site's policy is read before every deployment, and the package is 25 files on shared
 * storage and 37 ms. So is piscina, which the start of every solve waits for: 20 files and 27 ms.
 */
const packagesBeside = {
  name: 'packages-beside',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^(?:yaml|piscina)$/ }, ({ path }) => ({ path, namespace: 'beside' }))
    onLoad({ filter: /.*/, namespace: 'beside' }, async ({ path }) => {
      const names = Object.keys(await import(path)).filter((name) => name !== 'default')
      const define = `Object.defineProperty(exports, name, { get: () => beside('${path}.cjs')[name], enumerable: true })`
      return { contents: `for (const name of '${names.join(' ')}'.split(' ')) ${define}` }
    })
  },
}

/**
 * What deploying an archive of ours, activating and running in it, and starting the solver import late. All else that is imported late lies in a file of its own: V8
 * reads all of a file before it runs any of it, 2.5 ms of CPU time to 100 kB, and of this one at every start.
 */
const waitedFor =
  /\/src\/(?:deploy\/(?:deploy|run)|install\/solve|conda\/\w+|cli\/(?:program|commands\/(?:run|activate)))\.ts$/
const nameOf = (path) => relative(import.meta.dirname, path)

/** Late, too, but waited for where an archive is another's: in a file of its own, a sixth of that of the other verbs. */
const foreign = 'src/deploy/foreign.ts'

/** In the bundle of the CLI: what else is imported late is in the file beside it. `found` gets the names. */
const lateBeside = (found) => ({
  name: 'late-beside',
  setup({ onResolve, onLoad, resolve }) {
    onResolve({ filter: /^\./ }, async ({ path, kind, importer, resolveDir }) => {
      if (kind !== 'dynamic-import') return undefined
      const target = await resolve(path, { kind: 'import-statement', importer, resolveDir })
      if (waitedFor.test(target.path)) return undefined
      found.add(nameOf(target.path))
      return { path: nameOf(target.path), namespace: 'late' }
    })
    onLoad({ filter: /.*/, namespace: 'late' }, ({ path }) => ({
      contents: `module.exports = beside('${path === foreign ? foreignFile : verbsFile}')['${path}']()`,
    }))
  },
})

/**
 * In a file beside it: what is in `others`, a file that is read before it, is taken from there, so that there is one of everything. Each of them:
 * the modules in it, `found`, which gets the names of those that are taken, and how they are asked for.
 */
const sharedWith = (others) => ({
  name: 'shared-with',
  setup({ onResolve, onLoad, resolve }) {
    onResolve({ filter: /^[^/]/ }, async ({ path, importer, resolveDir, pluginData }) => {
      if (pluginData === 'asked' || path.startsWith('node:')) return undefined
      const target = await resolve(path, { kind: 'import-statement', importer, resolveDir, pluginData: 'asked' })
      const name = nameOf(target.path)
      const other = others.find(({ inputs }) => inputs.has(name))
      if (other === undefined) return undefined
      other.found.add(name)
      // By its name esbuild decides whether a module is CommonJS, as these lines are.
      return { path: `${name}.cjs`, namespace: 'shared', pluginData: other.ask(name) }
    })
    onLoad({ filter: /.*/, namespace: 'shared' }, ({ pluginData: asked }) => ({
      contents: `module.exports = ${asked}`,
    }))
  },
})

/** Modules by their names, each run when it is first asked for. */
const table = (names) => `{ ${[...names].map((name) => `'${name}': () => require('./${name}')`).join(', ')} }`

const options = {
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'esm',
  // Loaded only to make environments: piscina starts a file of its own, zstd-napi has an addon, the solver its wasm.
  external: ['piscina', 'zstd-napi', '@conda-org/rattler', 'undici', 'yaml'],
  legalComments: 'inline',
  logLevel: 'warning',
}

const { version } = JSON.parse(readFileSync('package.json', 'utf8'))

/** What ends a comment, and what stands for it in one. */
const [end, noEnd] = ['*/', '*\u0001/']

/**
 * Node looks at every folder above its main file to resolve links: on shared storage that is most of what starting touches. So it is told not to, and
 * a link that leads here (npm's) is resolved by itself. The bundle is a comment: V8 parses all of a file before it runs any of it, 8 ms for this one,
 * which what only asks for the version need not wait for. What cannot be written here is left to the bundle, which says why.
 * What V8 made of it is another: see code-cache.mjs.
 */
const head = `#!/usr/bin/env -S node --preserve-symlinks-main
const bundleFile = __filename.endsWith('/dist/${mainFile}') ? __filename : require('node:fs').realpathSync(__filename)
if (bundleFile !== __filename) require = require('node:module').createRequire(bundleFile)
const bundleUrl = require('node:url').pathToFileURL(bundleFile).href
let shared
const files = new Map()
const { dirname, join } = require('node:path')
const maker = ${maker}
let node
// As Node itself does it, which takes no compiled code.
const compile = (file, path, code, compiled) => {
  const { createRequire, wrap } = require('node:module')
  const { Script } = require('node:vm')
  node ??= maker()
  const cachedData = compiled.startsWith(node) ? Buffer.from(compiled.slice(node.length), 'base64') : undefined
  const script = new Script(wrap(code), { filename: path, cachedData })
  script.runInThisContext().call(file.exports, file.exports, createRequire(path), file, path, dirname(path))
}
// Without the looks at folders that require takes.
const beside = (name) => {
  if (!files.has(name)) {
    const { Module } = require('node:module')
    const path = join(dirname(bundleFile), name)
    const file = new Module(path)
    Object.assign(file, { shared, beside, bundleUrl, paths: Module._nodeModulePaths(dirname(path)) })
    const [code, compiled = ''] = require('node:fs').readFileSync(path, 'utf8').split(${JSON.stringify(mark)})
    compile(file, path, code, compiled)
    files.set(name, file.exports)
  }
  return files.get(name)
}
const textOf = (of) => {
  const text = of.toString()
  return text.slice(text.indexOf('/*') + 2, -3)
}
const saysVersion = () => {
  if (process.argv[2] !== '--version') return false
  try {
    return require('node:fs').writeSync(1, ${JSON.stringify(`${version}\n`)}) > 0
  } catch {
    return false
  }
}
if (!saysVersion()) {
  const code = textOf(bundle).replaceAll(${JSON.stringify(noEnd)}, '${end}')
  Object.assign(module, { own: require, share: (table) => (shared = table), beside, bundleUrl })
  compile(module, bundleFile, '\\n'.repeat(LINES) + code, textOf(compiled))
}
function bundle() {/*`

/** The bundle as a whole file; it hears in which line it begins, so that stack traces name its lines. */
function withHead(code) {
  if (code.includes(noEnd)) throw new Error('the bundle holds what stands for the end of a comment')
  const line = head.split('\n').length
  return `${head.replace('LINES', String(line - 1))}${code.replaceAll(end, noEnd)}*/}\n${inComment('')}\n`
}

/**
 * The CLI is CommonJS: Node starts it without its ESM loader, which takes 8 ms of the 70 that Node takes, and without looking for a
 * package.json. Blanks and comments go, because V8 reads all of a file before it runs any of it; names stay, for stack traces.
 */
const cli = {
  format: 'cjs',
  // Those that write archives of other formats are read when such an archive is written: 80 kB.
  external: [...options.external, 'tar-stream', 'yazl'],
  minifyWhitespace: true,
  minifySyntax: true,
  define: { 'import.meta.url': 'bundleUrl' },
  // A script with compiled code cannot import. The packages that are left outside are CommonJS.
  supported: { 'dynamic-import': false },
  metafile: true,
}
const cliFile = `dist/${mainFile}`

/** The bundle with a table of what it shares. */
const main = (names, late) => ({
  ...cli,
  stdin: {
    contents: `share((name) => (${table(names)})[name]())\nrequire('./src/cli/main.ts')`,
    resolveDir: import.meta.dirname,
  },
  outfile: cliFile,
  banner: { js: 'require = module.own; const { share, beside, bundleUrl } = module' },
  plugins: [lazyBuiltins, packagesBeside, lateBeside(late)],
})

const besideIt = (file, names, others) => ({
  ...cli,
  stdin: { contents: `module.exports = ${table(names)}`, resolveDir: import.meta.dirname },
  outfile: `dist/${file}`,
  banner: { js: 'const { shared, beside, bundleUrl } = module' },
  plugins: [lazyBuiltins, packagesBeside, sharedWith(others)],
})

/** What the bundle has decides what the files beside it take from it, and that what the bundle shares; so do these among each other. */
async function buildCli() {
  const late = new Set()
  const inputsOf = async (output) =>
    new Set(Object.keys((await build({ ...options, ...output, write: false })).metafile.inputs))
  const bundle = { inputs: await inputsOf(main([], late)), found: new Set(), ask: (name) => `shared('${name}')` }
  const ofForeign = {
    inputs: await inputsOf(besideIt(foreignFile, [foreign], [bundle])),
    found: new Set([foreign]),
    ask: (name) => `beside('${foreignFile}')['${name}']()`,
  }
  late.delete(foreign)
  await write(besideIt(verbsFile, late, [bundle, ofForeign]))
  await write(besideIt(foreignFile, ofForeign.found, [bundle]))
  await write(main(bundle.found, late))
  writeFileSync(cliFile, withHead(readFileSync(cliFile, 'utf8')))
  chmodSync(cliFile, 0o755)
}

const small = { format: 'cjs', external: [], minifyWhitespace: true, minifySyntax: true }
const yaml = {
  ...small,
  stdin: { contents: "export { parse, stringify } from 'yaml'", resolveDir: '.' },
  outfile: 'dist/yaml.cjs',
}

/** It starts a file that it looks for beside itself, under a name that is an ES module's in this package. */
const piscinaWorker = 'piscina-worker.cjs'
const renamedWorker = {
  name: 'renamed-worker',
  setup({ onLoad }) {
    onLoad({ filter: /\/piscina\/dist\/index\.js$/ }, ({ path }) => {
      const text = readFileSync(path, 'utf8')
      const contents = text.replace("__dirname, 'worker.js'", `__dirname, '${piscinaWorker}'`)
      if (contents === text) throw new Error(`${path} does not start 'worker.js' any more`)
      return { contents }
    })
  },
}
const piscina = {
  ...small,
  external: ['@napi-rs/nice'], // for an option that is not used
  entryPoints: ['node_modules/piscina/dist/main.js'],
  outfile: 'dist/piscina.cjs',
  plugins: [renamedWorker],
}
const worker = {
  ...piscina,
  entryPoints: ['node_modules/piscina/dist/worker.js'],
  outfile: `dist/${piscinaWorker}`,
}

/** A thread of its own: see src/install/solver.ts. CommonJS, as the thread's own file is, which would wait for the loader of the other form. */
const solver = {
  entryPoints: ['src/install/solve-worker.ts'],
  outfile: 'dist/solve-worker.cjs',
  format: 'cjs',
  banner: { js: "const workerUrl = require('node:url').pathToFileURL(__filename).href" },
  define: { 'import.meta.url': 'workerUrl' },
}
const library = { entryPoints: ['src/index.ts'], outfile: 'dist/index.js', banner: { js: require } }
const demo = { entryPoints: ['test/support/demo.ts'], outfile: 'build/demo.mjs', banner: { js: require } }
const bench = { entryPoints: ['bench/run.ts'], outfile: 'build/bench.mjs', banner: { js: require } }

async function write(output) {
  // A new file, not new content in the old one: a running conda-deploy keeps the one it has.
  rmSync(output.outfile, { force: true })
  await build({ ...options, ...output })
}

await Promise.all([buildCli(), ...[yaml, piscina, worker, library, solver, demo, bench].map(write)])

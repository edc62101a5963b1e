/**
 * Everything JavaScript that is shipped or started: one file each, so that starting touches a handful of files even where the
 * package itself lies on a parallel filesystem. Types are emitted by tsc (tsconfig.build.json).
 */
import { chmodSync, rmSync } from 'node:fs'
import { build } from 'esbuild'

/** Bundled CommonJS (commander, tar-stream) calls require for Node's own modules. */
const require =
  "import { createRequire as requireFrom } from 'node:module'\nconst require = requireFrom(import.meta.url)"

/**
 * A built-in module is loaded when one of its functions is first called, not when a module that imports it first runs: commander's
 * child_process (an unused feature) and the verbs' fs/promises cost 7 ms of start-up that `--version` has no use for.
 */
const lazyBuiltins = {
  name: 'lazy-builtins',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^node:/ }, ({ path, namespace }) =>
      namespace === 'builtin' ? { path, external: true } : { path, namespace: 'builtin' },
    )
    onLoad({ filter: /.*/, namespace: 'builtin' }, async ({ path }) => {
      const names = Object.keys(await import(path)).filter((name) => name !== 'default')
      const getters = names.map((name) => `get ${name}() { return require('${path}').${name} }`)
      return { contents: `module.exports = { ${getters.join(', ')} }` }
    })
  },
}

/**
 * The YAML parser is one file beside the bundle, read when it is needed and without the looks at folders that `require` takes: a site's policy
 * is read before every deployment, and the package is 25 files on shared storage and 37 ms.
 */
const yamlBeside = {
  name: 'yaml-beside',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^yaml$/ }, ({ path }) => ({ path, namespace: 'beside' }))
    onLoad({ filter: /.*/, namespace: 'beside' }, () => ({
      contents: `
        let loaded
        const load = () => {
          const { Module } = require('node:module')
          const path = require('node:path').join(require('node:path').dirname(bundleFile), 'yaml.cjs')
          loaded = new Module(path)
          loaded._compile(require('node:fs').readFileSync(path, 'utf8'), path)
          return loaded
        }
        module.exports = {
          get parse() { return (loaded ?? load()).exports.parse },
          get stringify() { return (loaded ?? load()).exports.stringify },
        }`,
    }))
  },
}

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

/**
 * Node looks at every folder above its main file to resolve links: on shared storage that is most of what starting touches. So it is told not to, and
 * a link that leads here (npm's) is resolved by itself.
 */
const head = `#!/usr/bin/env -S node --preserve-symlinks-main
const bundleFile = __dirname.endsWith('/dist') ? __filename : require('node:fs').realpathSync(__filename)
if (bundleFile !== __filename) require = require('node:module').createRequire(bundleFile)
const bundleUrl = require('node:url').pathToFileURL(bundleFile).href`

/**
 * The CLI is CommonJS: Node starts it without its ESM loader, which takes 8 ms of the 70 that Node takes, and without looking for a
 * package.json. Blanks and comments go, because V8 reads all of a file before it runs any of it; names stay, for stack traces.
 */
const cli = {
  entryPoints: ['src/cli/main.ts'],
  outfile: 'dist/conda-deploy.cjs',
  format: 'cjs',
  // Those that write archives of other formats are read when such an archive is written: 80 kB.
  external: [...options.external, 'tar-stream', 'yazl'],
  minifyWhitespace: true,
  minifySyntax: true,
  define: { 'import.meta.url': 'bundleUrl' },
  banner: { js: head },
  plugins: [lazyBuiltins, yamlBeside],
}

const yaml = {
  stdin: { contents: "export { parse, stringify } from 'yaml'", resolveDir: '.' },
  outfile: 'dist/yaml.cjs',
  format: 'cjs',
  external: [],
  minifyWhitespace: true,
  minifySyntax: true,
}

/** A thread of its own: see src/install/solver.ts. */
const solver = {
  entryPoints: ['src/install/solve-worker.ts'],
  outfile: 'dist/solve-worker.js',
  banner: { js: require },
}
const library = { entryPoints: ['src/index.ts'], outfile: 'dist/index.js', banner: { js: require } }
const demo = { entryPoints: ['test/support/demo.ts'], outfile: 'build/demo.mjs', banner: { js: require } }
const bench = { entryPoints: ['bench/run.ts'], outfile: 'build/bench.mjs', banner: { js: require } }

await Promise.all(
  [cli, yaml, library, solver, demo, bench].map(async (output) => {
    // A new file, not new content in the old one: a running conda-deploy keeps the one it has.
    rmSync(output.outfile, { force: true })
    await build({ ...options, ...output })
  }),
)
chmodSync(cli.outfile, 0o755)

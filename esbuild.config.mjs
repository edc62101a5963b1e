/**
 * Everything JavaScript that is shipped or started: one file each, so that starting touches a handful of files even where the
 * package itself lies on a parallel filesystem. Types are emitted by tsc (tsconfig.build.json).
 */
import { chmodSync, rmSync } from 'node:fs'
import { build } from 'esbuild'

/** Bundled CommonJS (commander, tar-stream) calls require for Node's own modules. */
const require =
  "import { createRequire as requireFrom } from 'node:module'\nconst require = requireFrom(import.meta.url)"

const spawning = ['exec', 'execFile', 'execFileSync', 'execSync', 'fork', 'spawn', 'spawnSync']

/**
 * Built-in modules are loaded when the module that imports them first runs: as imports of an ESM bundle they would all be hoisted to its
 * start. commander imports child_process for a feature that is not used here: 2.3 ms of the 20 that `--version` takes beyond `node -e 0`.
 */
const lazyBuiltins = {
  name: 'lazy-builtins',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^node:/ }, ({ path, namespace }) =>
      namespace === 'builtin' ? { path, external: true } : { path, namespace: 'builtin' },
    )
    onLoad({ filter: /.*/, namespace: 'builtin' }, ({ path }) => ({
      contents:
        path === 'node:child_process'
          ? `for (const name of ${JSON.stringify(spawning)}) exports[name] = (...all) => require('${path}')[name](...all)`
          : `module.exports = require('${path}')`,
    }))
  },
}

const options = {
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'esm',
  // Loaded only when a foreign archive needs them: piscina starts a file of its own, zstd-napi has an addon of its own.
  external: ['piscina', 'zstd-napi', '@conda-org/rattler'],
  legalComments: 'inline',
  logLevel: 'warning',
}

const outputs = [
  {
    entry: 'src/cli/main.ts',
    file: 'dist/conda-deploy.js',
    banner: `#!/usr/bin/env node\n${require}`,
    plugins: [lazyBuiltins],
  },
  { entry: 'src/index.ts', file: 'dist/index.js', banner: require },
  { entry: 'src/archive/worker.ts', file: 'dist/worker.js', banner: require },
  { entry: 'src/install/solve-worker.ts', file: 'dist/solve-worker.js', banner: require },
  { entry: 'test/support/demo.ts', file: 'build/demo.mjs', banner: require },
  { entry: 'bench/run.ts', file: 'build/bench.mjs', banner: require },
]

await Promise.all(
  outputs.map(async ({ entry, file, banner, plugins = [] }) => {
    // A new file, not new content in the old one: a running conda-deploy keeps the one it has.
    rmSync(file, { force: true })
    await build({ ...options, entryPoints: [entry], outfile: file, banner: { js: banner }, plugins })
  }),
)
chmodSync('dist/conda-deploy.js', 0o755)

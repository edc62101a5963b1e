/**
 * Puts what V8 makes of the CLI behind its code, so that no start compiles it again: 20 of the 65 ms of finding that a deployment is there. It
 * holds for the Node that it was made by, so it is made where the package is installed; any other, or other flags of V8, and the code is
 * compiled as ever. Code of what was run is in it: a small environment is packed, deployed and updated for that.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import vm from 'node:vm'

/** Of the CLI, in `dist`: the one that Node starts, and those that it reads itself. */
export const [mainFile, foreignFile, verbsFile] = ['conda-deploy.cjs', 'foreign.cjs', 'verbs.cjs']

/** Between the code of a file that the CLI reads itself, and what V8 made of it. */
export const mark = '\n//compiled:'

/** The same in the file that Node starts: a function whose text tells it. */
export const inComment = (compiled) => `function compiled() {/*${compiled}*/}`
const commented = /^function compiled\(\) \{\/\*.*\*\/\}$/m

/**
 * The Node that runs, in front of what its V8 made. V8 itself looks at its flags and its version, but not at the changes that Node makes to it:
 * Node 20.20.2 takes what 20.20.1 made, and crashes. Its text is a part of the CLI.
 */
export const maker = () =>
  `${Buffer.from(JSON.stringify([process.versions, process.arch, process.config])).toString('base64')}:`

const self = fileURLToPath(import.meta.url)
const dist = join(dirname(self), 'dist')

const withCode = (name, text, compiled) =>
  name === mainFile
    ? text.replace(commented, () => inComment(compiled))
    : text.split(mark, 1)[0] + (compiled === '' ? '' : mark + compiled)

/** A new file in the place of the old one, which a running conda-deploy keeps. */
function put(name, compiled) {
  const path = join(dist, name)
  const made = `${path}.${process.pid}`
  try {
    writeFileSync(made, withCode(name, readFileSync(path, 'utf8'), compiled), { flag: 'wx' })
    chmodSync(made, statSync(path).mode)
    renameSync(made, path)
  } finally {
    rmSync(made, { force: true })
  }
}

/** An environment of one package with one file that holds the prefix. */
function sampleEnvironment(prefix, version) {
  const placeholder = `/opt/${'placehold_'.repeat(20)}`
  const text = (at) => `#!${at}/bin/python\nprint(${JSON.stringify(`${at} ${version}`)})\n`
  const hash = (content) => createHash('sha256').update(content).digest('hex')
  const item = {
    ...{
      _path: 'bin/sample',
      path_type: 'hardlink',
      sha256: hash(text(placeholder)),
      sha256_in_prefix: hash(text(prefix)),
    },
    ...{ size_in_bytes: text(placeholder).length, prefix_placeholder: placeholder, file_mode: 'text' },
  }
  const record = { name: 'sample', version, build: '0', build_number: 0, files: ['bin/sample'] }
  for (const folder of ['bin', 'conda-meta']) mkdirSync(join(prefix, folder), { recursive: true })
  writeFileSync(join(prefix, 'bin/sample'), text(prefix), { mode: 0o755 })
  writeFileSync(join(prefix, 'conda-meta/history'), '')
  const named = { ...record, paths_data: { paths_version: 1, paths: [item] } }
  writeFileSync(join(prefix, 'conda-meta/sample-1-0.json'), JSON.stringify(named, null, 2))
}

/** What nodes do most, and packing. */
function* usualCommands(work) {
  const [source, target] = [join(work, 'source'), join(work, 'target')]
  const [first, next, foreign] = ['1.tar.zst', '2.tar.zst', '3.tar.gz'].map((name) => join(work, name))
  for (const [version, archive] of [
    [1, first],
    [2, next],
    [2, foreign],
  ]) {
    sampleEnvironment(source, String(version))
    yield ['pack', '--prefix', source, '--output', archive]
  }
  // The temporary folder may lie anywhere.
  const to = (place) => ['--to', place, '--allow-shared']
  yield [first, ...to(target)]
  yield [first, ...to(target)]
  yield [next, ...to(target), '--update']
  yield ['verify', target]
  yield [foreign, ...to(join(work, 'foreign'))]
}

/** In a process of its own: runs the commands one after another, then writes what became of the scripts. */
function record(work) {
  const require = createRequire(self)
  const scripts = new Map()
  const { Script } = vm
  // One script to a file, however often it is run: what is compiled later is kept with it.
  vm.Script = function Recorded(code, options) {
    if (!scripts.has(options.filename)) scripts.set(options.filename, new Script(code, options))
    return scripts.get(options.filename)
  }
  // V8 takes what it kept only with the flags that it was made with.
  require('node:v8').setFlagsFromString = () => {}
  const commands = usualCommands(work)
  const next = () => {
    if (process.exitCode) throw new Error(`conda-deploy ${process.argv.slice(2).join(' ')} failed`)
    const { done, value: command = [] } = commands.next()
    if (done)
      for (const [path, script] of scripts)
        put(path.slice(dist.length + 1), maker() + script.createCachedData().toString('base64'))
    else {
      process.argv = [process.execPath, join(dist, mainFile), ...command, '--quiet']
      delete require.cache[join(dist, mainFile)]
      require(join(dist, mainFile))
      process.once('beforeExit', next)
    }
  }
  next()
}

function make() {
  for (const name of [mainFile, foreignFile, verbsFile]) put(name, '')
  const work = mkdtempSync(join(tmpdir(), 'conda-deploy-code-'))
  try {
    // Flags of whoever installs it are not those of its users.
    const env = { ...process.env, NODE_OPTIONS: '' }
    const { status, error, stderr } = spawnSync(process.execPath, [self, work], {
      env,
      encoding: 'utf8',
      stdio: ['ignore', 'ignore', 'pipe'],
      timeout: 60_000, // a second, where nothing hangs
    })
    if (status !== 0) throw error ?? new Error(stderr)
  } finally {
    spawnSync('chmod', ['-R', 'u+w', work])
    rmSync(work, { recursive: true, force: true })
  }
}

/** The package is whole without it: an installation does not fail for a temporary folder that is not there. */
function tryToMake() {
  try {
    make()
  } catch ({ message }) {
    console.error(`conda-deploy will compile its code at every start, which takes 20 ms:\n${message}`)
  }
}

/** The build imports this file, too. Node gives it the name behind all links, and an argument as it was typed. */
const isMain = process.argv[1] !== undefined && realpathSync(process.argv[1]) === realpathSync(self)
if (isMain) process.argv[2] === undefined ? tryToMake() : record(process.argv[2])

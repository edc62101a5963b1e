/** What starting costs: files of its own that it touches, and parts of Node that it loads. Both matter where the package lies on a parallel file system. */
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { cliFile } from '../support/run-cli.js'
import { makeSample, packed } from './sample.js'

const sample = makeSample()
const root = dirname(dirname(cliFile))
const hook = join(sample.folder, 'hook.cjs')

beforeAll(async () => {
  await packed(sample)
  writeFileSync(hook, `process.on('exit', () => require('fs').writeSync(2, process.moduleLoadList.join('\\n')))`)
})

/** Node's own modules that were loaded when the process ended. */
function loaded(...args: readonly string[]): Set<string> {
  const { status, stderr } = spawnSync(process.execPath, ['-r', hook, ...args], { encoding: 'utf8' })
  expect(status, stderr).toBe(0)
  return new Set(stderr.split('\n').map((line) => line.replace(/^NativeModule /, '')))
}

test('--version loads nothing of Node that it has not loaded anyway', () => {
  const bare = loaded('-e', '0')
  const more = (...args: string[]): string[] => [...loaded(cliFile, ...args)].filter((name) => !bare.has(name))
  expect(more('--version')).toEqual([])
  expect(more('--help')).not.toEqual([])
})

test.skipIf(!existsSync('/dev/full'))(
  '--version that cannot be written says so (on a device that is always full)',
  () => {
    const { status, stderr } = spawnSync('sh', ['-c', `exec '${cliFile}' --version >/dev/full`], { encoding: 'utf8' })
    expect(stderr).toMatch(/cannot write the result to stdout/)
    expect(status).toBe(75)
  },
)

// V8 reads all of it at nearly every start: 2.5 ms of CPU time to 100 kB, where Node takes 20 ms.
test('the bundle is small', () => {
  const text = readFileSync(cliFile, 'latin1')
  expect(text.slice(0, text.indexOf('function compiled()')).length).toBeLessThan(250_000)
})

/** What becomes of the code that V8 kept of each file that was read: taken or not. */
const spy = join(sample.folder, 'spy.cjs')
const spied = (cli: string, flags: readonly string[], ...args: readonly string[]): string[] => {
  writeFileSync(
    spy,
    `const vm = require('vm')
    const { Script } = vm
    vm.Script = function (code, options) {
      const script = new Script(code, options)
      require('fs').writeSync(2, 'spied ' + require('path').basename(options.filename) + ' ' + (options.cachedData ? !script.cachedDataRejected : 'nothing') + '\\n')
      return script
    }`,
  )
  const { status, stderr } = spawnSync(process.execPath, [...flags, '-r', spy, cli, ...args], { encoding: 'utf8' })
  expect(status, stderr).toBe(0)
  return [...stderr.matchAll(/^spied (.*)$/gm)].map(([, line]) => line as string)
}

describe('compiled code that is kept', () => {
  const zip = join(sample.folder, 'kept.zip')
  const pack = ['pack', '-p', sample.prefix, '-o', zip, '--quiet', '--force']

  test('is taken, by all files of the CLI, as it was built', () => {
    expect(spied(cliFile, [], ...pack)).toEqual(['conda-deploy.cjs true', 'verbs.cjs true', 'foreign.cjs true'])
    const to = join(sample.folder, 'kept')
    expect(spied(cliFile, [], zip, '--to', to)).toEqual(['conda-deploy.cjs true', 'foreign.cjs true'])
    expect(spied(cliFile, [], sample.archive, '--to', join(sample.folder, 'own'))).toEqual(['conda-deploy.cjs true'])
  })

  test('is not taken by a V8 that works otherwise, which compiles', () => {
    const to = join(sample.folder, 'other')
    expect(spied(cliFile, ['--no-opt'], sample.archive, '--to', to)).toEqual(['conda-deploy.cjs false'])
  })

  /** The package where it may be changed; with its addon what is made of it can be tried. */
  const copied = (name: string, ...more: readonly string[]): string => {
    const copy = join(sample.folder, name)
    for (const part of ['dist', 'code-cache.mjs', 'package.json', ...more])
      cpSync(join(root, part), join(copy, part), { recursive: true })
    return copy
  }
  const make = (copy: string, env: NodeJS.ProcessEnv = {}) =>
    spawnSync(process.execPath, [join(copy, 'code-cache.mjs')], { encoding: 'utf8', env: { ...process.env, ...env } })
  const addon = 'build/Release/conda_deploy.node'

  // V8 itself would take it from Node 20.20.1, and 20.20.2 would crash.
  test('is not taken by another Node, which compiles', () => {
    const copy = copied('another', addon)
    for (const name of ['conda-deploy.cjs', 'foreign.cjs', 'verbs.cjs']) {
      const file = join(copy, 'dist', name)
      const text = readFileSync(file, 'utf8')
      const [, made = ''] = /(?:^function compiled\(\) \{\/\*|^\/\/compiled:)([^:]*):/m.exec(text) ?? []
      const maker = Buffer.from(made, 'base64').toString()
      expect(maker).toContain(JSON.stringify(process.versions))
      const another = maker.replace(`"node":"${process.versions.node}"`, '"node":"20.0.0"')
      writeFileSync(file, text.replace(made, Buffer.from(another).toString('base64')))
    }
    const found = ['conda-deploy.cjs nothing', 'verbs.cjs nothing', 'foreign.cjs nothing']
    expect(spied(join(copy, 'dist/conda-deploy.cjs'), [], 'pack', '-p', sample.prefix, '--dry-run')).toEqual(found)
  })

  test('is made by whatever name the package has; without a temporary folder it is not, and nothing fails', () => {
    const copy = copied('named', addon)
    const own = join(copy, 'dist/conda-deploy.cjs')
    const lost = make(copy, { TMPDIR: join(sample.folder, 'none') })
    expect(lost).toMatchObject({ status: 0, stderr: expect.stringContaining('will compile its code at every start') })
    expect(spied(own, [], 'deploy', '--help')[0]).toBe('conda-deploy.cjs nothing')
    symlinkSync(copy, `${copy}-link`)
    expect(make(`${copy}-link`)).toMatchObject({ status: 0, stderr: '' })
    expect(spied(own, [], 'deploy', '--help')[0]).toBe('conda-deploy.cjs true')
  })

  test('is made where the package lies, as often as one likes; and what cannot be tried is left as it was', () => {
    const copy = copied('copy')
    const own = join(copy, 'dist/conda-deploy.cjs')
    const before = readdirSync(join(copy, 'dist'))
    // Its addon is missing.
    const { status, stderr } = make(copy)
    expect(status).toBe(0)
    expect(stderr).toContain('will compile its code at every start')
    expect(readdirSync(join(copy, 'dist'))).toEqual(before)
    expect(spied(own, [], 'deploy', '--help')[0]).toBe('conda-deploy.cjs nothing')
    cpSync(join(root, addon), join(copy, addon))
    for (const _ of ['once', 'twice']) {
      expect(make(copy)).toMatchObject({ status: 0, stderr: '' })
      expect(readdirSync(join(copy, 'dist'))).toEqual(before)
      expect(spied(own, [], 'deploy', '--help')[0]).toBe('conda-deploy.cjs true')
      expect(statSync(own).mode & 0o111).toBe(0o111)
    }
  })
})

const linkFolders = ['bin', 'dist']
test.each(linkFolders)('a link in %s starts it, and it finds what lies beside the bundle and its packages', (name) => {
  const bin = join(sample.folder, name)
  mkdirSync(bin)
  const link = join(bin, 'conda-deploy')
  symlinkSync(cliFile, link)
  const output = join(bin, 'linked.zip')
  const { status, stderr } = spawnSync(link, ['pack', '-p', sample.prefix, '-o', output, '--quiet'], {
    encoding: 'utf8',
  })
  expect(status, stderr).toBe(0)
  expect(statSync(output).size).toBeGreaterThan(0)
})

const hasStrace = spawnSync('strace', ['-o', '/dev/null', 'true']).status === 0
if (!hasStrace) console.warn('skipped: test/cli/startup: strace is not installed, or may not trace here')

describe.skipIf(!hasStrace)('files of its own and archive that are touched', () => {
  /** Every call that names one of them: looks count as much as opens. */
  const touched = (...args: readonly string[]): string[] => {
    const log = join(sample.folder, 'strace')
    const { status, stderr } = spawnSync('strace', ['-f', '-qq', '-o', log, '-e', 'trace=file', cliFile, ...args], {
      encoding: 'utf8',
    })
    expect(status, stderr).toBe(0)
    const calls = [...readFileSync(log, 'utf8').matchAll(/^\d+ +(\w+)\((?:AT_FDCWD, )?"([^"]*)"/gm)]
    const named = (path: string): boolean =>
      /^\/(?:dist|build)\//.test(path.slice(root.length)) || path === sample.archive
    return calls.filter(([, , path = '']) => named(path)).map(([, call, path]) => `${call} ${path}`)
  }
  const start = [`execve ${cliFile}`, `statx ${cliFile}`, `openat ${cliFile}`]
  const core = `openat ${join(root, 'build/Release/conda_deploy.node')}`
  const archive = `openat ${sample.archive}`

  test('three for the version', () => {
    expect(touched('--version')).toEqual(start)
  })

  test('no more for a lease, and one for a policy', () => {
    const scratch = join(sample.folder, 'scratch')
    const policy = join(sample.folder, 'policy.yaml')
    writeFileSync(policy, 'cache:\n  maxAge: 14d\n', { mode: 0o644 })
    mkdirSync(scratch)
    const args = [sample.archive, '--root', scratch, '--lease', 'slurm:1']
    expect(touched(...args)).toEqual([...start, core, archive, archive])
    expect(touched(...args)).toEqual([...start, core, archive])
    const yaml = `openat ${join(dirname(cliFile), 'yaml.cjs')}`
    expect(touched(...args, '--policy', policy)).toEqual([...start, core, archive, yaml])
  })

  test('no more for what a job activates and runs, nor for words of its program that are commands of ours', () => {
    const target = join(sample.folder, 'run')
    const args = [sample.archive, '--to', target]
    expect(touched('run', ...args, '--', 'echo', 'pack', 'list')).toEqual([...start, core, archive, archive])
    // The last look resolves the path by which `deactivate` will call it.
    expect(touched(...args, '--shell', 'bash')).toEqual([...start, core, archive, `statx ${cliFile}`])
  })

  test('six to deploy, five to find that it is deployed', () => {
    const target = join(sample.folder, 'started')
    expect(touched(sample.archive, '--to', target)).toEqual([...start, core, archive, archive])
    expect(touched(sample.archive, '--to', target)).toEqual([...start, core, archive])
  })
})

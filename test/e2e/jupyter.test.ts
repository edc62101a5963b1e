/**
 * The main job on a real environment: the Jupyter stack installed from real conda packages, with pip packages in it, packed, its source
 * taken away, deployed, run. Needs the folder of conda packages (`CONDA_DEPLOY_CHANNEL`, or ../shared/channel beside the checkout).
 */
import { execFileSync, spawnSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { describeTree, differences, filesWith } from '../support/tree.js'

const root = resolve(import.meta.dirname, '../..')
const channel = resolve(process.env['CONDA_DEPLOY_CHANNEL'] ?? join(root, '../shared/channel'))
const present = existsSync(join(channel, 'make_scenarios.py'))
if (!present) console.warn(`skipped: test/e2e/jupyter: no conda packages at ${channel} (set CONDA_DEPLOY_CHANNEL)`)

const cli = join(root, 'dist/conda-deploy.cjs')
const ours = (...args: string[]) => spawnSync('node', [cli, ...args], { encoding: 'utf8', maxBuffer: 1 << 28 })
const must = (...args: string[]): string => {
  const done = ours(...args)
  expect(done.status, done.stderr).toBe(0)
  return done.stdout
}
const home = mkdtempSync(join(tmpdir(), 'conda-deploy-home-'))
afterAll(() => rmSync(home, { recursive: true, force: true }))
/** A program of a deployed prefix, in an environment that knows nothing of the source. */
const runIn = (prefix: string, program: string, ...args: string[]): string =>
  execFileSync(join(prefix, 'bin', program), args, {
    encoding: 'utf8',
    env: { PATH: '/usr/bin:/bin', HOME: home, PYTHONNOUSERSITE: '1', PYTHONDONTWRITEBYTECODE: '1' },
  })

describe.skipIf(!present)('the Jupyter stack', () => {
  let work: string
  let source: string
  let conda: string
  let archive: string
  let deployed: string

  beforeAll(() => {
    work = mkdtempSync(join(tmpdir(), 'conda-deploy-e2e-'))
    const scenario = ['make_scenarios.py', '--root', work, 'myproject']
    execFileSync('python3', scenario, {
      cwd: channel,
      stdio: 'ignore',
      env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1' },
    })
    conda = join(work, 'home/alice/.conda')
    source = join(conda, 'envs/myproject')
    archive = join(work, 'myproject.tar.zst')
    deployed = join(work, 'node/env')
    mkdirSync(join(work, 'node'))
    must('pack', '-p', source, '-o', archive, '-q')
    renameSync(conda, join(work, 'away'))
    expect(must('deploy', archive, '--to', deployed, '--quiet')).toBe(`${deployed}\n`)
  }, 180_000)

  afterAll(() => {
    if (work !== undefined) {
      execFileSync('chmod', ['-R', 'u+w', work])
      rmSync(work, { recursive: true, force: true })
    }
  })

  test('case 27: its programs run from the deployed prefix with the source and its package cache gone', () => {
    expect(runIn(deployed, 'jupyter', '--version')).toMatch(/notebook\s*: 6\.4\.12/)
    runIn(deployed, 'python', '-c', 'import zmq, notebook')
    expect(runIn(deployed, 'pip', 'list')).toMatch(/alice-tools\s+0\.3\.1/)
    expect(JSON.parse(runIn(deployed, 'alice-report'))).toMatchObject({ prefix: deployed, config_ok: true })
    expect(runIn(deployed, 'flask', '--version')).toMatch(/Werkzeug/)
  })

  test('case 32: no old prefix and no placeholder stands in it, except where inspect says so', () => {
    const said = JSON.parse(must('inspect', archive, '--json')) as {
      kept: { path: string }[]
      placeholders: { path: string }[]
    }
    const known = new Set([...said.kept, ...said.placeholders].map((file) => file.path))
    const left = [...filesWith(deployed, source), ...filesWith(deployed, '_placehold_placehold')]
    expect(left.filter((path) => !known.has(path) && !path.startsWith('.conda-deploy/'))).toEqual([])
  })

  test('case 33: its conda-meta is true: every sha256_in_prefix is that of the file', () => {
    const check = `
import glob, hashlib, json, os, sys
bad = []
for record in glob.glob(sys.argv[1] + '/conda-meta/*.json'):
    r = json.load(open(record))
    assert sys.argv[2] not in open(record).read(), record
    for p in r['paths_data']['paths']:
        f = os.path.join(sys.argv[1], p['_path'])
        if 'sha256_in_prefix' in p and not os.path.islink(f):
            if hashlib.sha256(open(f, 'rb').read()).hexdigest() != p['sha256_in_prefix']: bad.append(p['_path'])
        elif not os.path.lexists(f): bad.append('missing ' + p['_path'])
print(json.dumps(bad))
`
    const script = join(work, 'check.py')
    writeFileSync(script, check)
    expect(JSON.parse(execFileSync('python3', [script, deployed, conda], { encoding: 'utf8' }))).toEqual([])
  })

  test('case 31: every .pyc that is there is valid for its source', () => {
    const check = `
import importlib.util, glob, os, struct, sys
bad = []
for d, _, names in os.walk(sys.argv[1] + '/lib/python3.11'):
    for n in names:
        if not n.endswith('.pyc') or os.path.basename(d) != '__pycache__': continue
        source = os.path.join(os.path.dirname(d), n.split('.')[0] + '.py')
        if not os.path.exists(source): continue
        flags, mtime, size = struct.unpack('<III', open(os.path.join(d, n), 'rb').read(16)[4:])
        st = os.stat(source)
        if flags == 0 and (mtime != int(st.st_mtime) & 0xFFFFFFFF or size != st.st_size): bad.append(os.path.join(d, n))
print(len(bad)); print(bad[:5])
`
    const script = join(work, 'pyc.py')
    writeFileSync(script, check)
    const stale = (tree: string): number =>
      Number(execFileSync('python3', [script, tree], { encoding: 'utf8' }).split('\n')[0])
    const before = stale(join(work, 'away/envs/myproject'))
    expect(stale(deployed)).toBeLessThanOrEqual(before)
  })

  test('verify passes, and finds one flipped byte', () => {
    must('verify', deployed, '--quiet')
    const victim = join(deployed, 'lib/python3.11/site-packages/notebook/__init__.py')
    const content = readFileSync(victim)
    const stat = statSync(victim)
    const broken = Buffer.from(content)
    broken[3] = (broken[3] ?? 0) ^ 1
    chmodSync(victim, 0o644)
    writeFileSync(victim, broken)
    const found = ours('verify', deployed, '--json')
    expect(found.status).toBe(3)
    expect(JSON.parse(found.stdout)).toMatchObject({
      faults: [{ path: 'lib/python3.11/site-packages/notebook/__init__.py', kind: 'content' }],
    })
    writeFileSync(victim, content)
    execFileSync('touch', ['-d', `@${Math.floor(stat.mtimeMs / 1000)}`, victim])
    chmodSync(victim, stat.mode & 0o7777)
    must('verify', deployed, '--quiet')
  })

  test('case 21: tar and its own conda-unpack make the same tree', () => {
    const prefix = join(work, 'node/plain')
    mkdirSync(prefix)
    execFileSync('tar', ['-I', 'zstd', '-xf', archive, '-C', prefix])
    execFileSync(join(prefix, 'bin/conda-unpack'), { stdio: 'pipe' })
    const byTar = describeTree(prefix, ['.conda-deploy'])
    const aside = join(work, 'node/aside')
    renameSync(prefix, aside)
    must('deploy', archive, '--to', prefix, '--writable', '--quiet')
    expect(differences(byTar, describeTree(prefix, ['.conda-deploy']))).toEqual([])
  })

  test('case 19: packing it again gives the same bytes, whatever the threads, umask and temp folder', () => {
    renameSync(join(work, 'away'), conda)
    const again = join(work, 'again.tar.zst')
    const done = spawnSync('sh', [
      '-c',
      `umask 077; TMPDIR='${work}' exec node '${cli}' pack -p '${source}' -o '${again}' -j 1 -q`,
    ])
    expect(done.status).toBe(0)
    expect(readFileSync(again).equals(readFileSync(archive))).toBe(true)
    renameSync(conda, join(work, 'away'))
  })

  const condaPack = process.env['CONDA_PACK']
  test.skipIf(!condaPack)('the archive that conda-pack makes of it deploys and works (needs CONDA_PACK)', () => {
    renameSync(join(work, 'away'), conda)
    const theirs = join(work, 'theirs.tar.gz')
    execFileSync('sh', ['-ec', `${condaPack} -p '${source}' -o '${theirs}' -q -j 2`])
    renameSync(conda, join(work, 'away'))
    const prefix = join(work, 'node/theirs')
    must('deploy', theirs, '--to', prefix, '--quiet')
    expect(runIn(prefix, 'jupyter', '--version')).toMatch(/notebook\s*: 6\.4\.12/)
    expect(JSON.parse(runIn(prefix, 'alice-report'))).toMatchObject({ prefix, config_ok: true })
    must('verify', prefix, '--quiet')
  })
})

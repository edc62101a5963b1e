/**
 * The sample environment: made in seconds from nothing but g++, installed from packages by the small installer below, which is independent of the
 * product and knows how conda, mamba and pixi differ in what they record.
 */
import { createHash } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import {
  bytecode,
  compileLibrary,
  type Package,
  type PackageFile,
  packageTime,
  placeholder,
  samplePackages,
} from './sample-packages.js'

export interface SampleOptions {
  /** Where the environment is made; default `root/home/alice/.conda/envs/sample`. */
  readonly prefix?: string
  /** Whose records it has. */
  readonly style?: 'conda' | 'mamba' | 'pixi'
  /** Number of further files. */
  readonly filler?: number
}

export interface Sample {
  readonly prefix: string
  /** Holds the package cache and nothing else. */
  readonly packageCache: string
}

const sitePackages = 'lib/python3.11/site-packages'
const sha256 = (content: Buffer): string => createHash('sha256').update(content).digest('hex')

function put(path: string, content: Buffer | string, mode = 0o644): void {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, content)
  chmodSync(path, mode)
  utimesSync(path, packageTime, packageTime)
}

function link(path: string, target: string): void {
  mkdirSync(dirname(path), { recursive: true })
  symlinkSync(target, path)
  lutimesSync(path, packageTime, packageTime)
}

/** As conda does it: text wherever it stands; in binaries inside NUL-terminated strings, filled up with NULs behind each string. */
function relocated(content: Buffer, mode: 'text' | 'binary', prefix: string): Buffer {
  let bytes = content.toString('latin1')
  if (mode === 'text') return Buffer.from(bytes.replaceAll(placeholder, prefix), 'latin1')
  const encodings = [
    { encode: (text: string) => text, nul: '\0' },
    { encode: (text: string) => Buffer.from(text, 'utf16le').toString('latin1'), nul: '\0\0' },
    { encode: (text: string) => text.replaceAll(/./g, '$&\0\0\0'), nul: '\0\0\0\0' },
  ]
  for (const { encode, nul } of encodings) {
    const [from, to] = [encode(placeholder), encode(prefix)]
    for (let at = bytes.indexOf(from); at >= 0; at = bytes.indexOf(from, at)) {
      let end = at + from.length
      while (end < bytes.length && bytes.slice(end, end + nul.length) !== nul) end += nul.length
      const string = bytes.slice(at, end).replaceAll(from, to)
      bytes = bytes.slice(0, at) + string.padEnd(end - at, '\0') + bytes.slice(end)
      at += string.length
    }
  }
  return Buffer.from(bytes, 'latin1')
}

/** Where a file of a package stands in the environment. */
function installedPath(pkg: Package, path: string): string {
  return pkg.noarch === 'python' ? path.replace(/^site-packages\//, `${sitePackages}/`) : path
}

interface Place {
  readonly prefix: string
  readonly cache: string
  readonly style: 'conda' | 'mamba' | 'pixi'
}

type PathRecord = Record<string, string | number>

function recordOf(file: PackageFile, path: string, before: Buffer, after: Buffer, style: Place['style']): PathRecord {
  const hashes = { sha256: sha256(before), sha256_in_prefix: sha256(after) }
  const kind = file.link === undefined ? 'hardlink' : 'softlink'
  const common = { _path: path, path_type: kind, size_in_bytes: (style === 'pixi' ? after : before).length }
  const known =
    file.placeholder && style !== 'mamba' ? { file_mode: file.placeholder, prefix_placeholder: placeholder } : {}
  if (style === 'pixi' && before.equals(after)) return { ...common, sha256: hashes.sha256 }
  return { ...common, ...hashes, ...known }
}

/** Puts a package into the cache and links it into the environment: hard where nothing is replaced. */
function installPackage(pkg: Package, place: Place): void {
  const dist = `${pkg.name}-${pkg.version}-0`
  const extracted = join(place.cache, dist)
  const paths: PathRecord[] = []
  const files: string[] = []
  for (const file of pkg.files) {
    const path = installedPath(pkg, file.path)
    const target = join(place.prefix, path)
    files.push(path)
    if (file.link !== undefined) {
      link(join(extracted, file.path), file.link)
      link(target, file.link)
      // rattler hashes the text of a link, conda and mamba what it leads to.
      const leads =
        pkg.files.find((f) => join(dirname(file.path), file.link ?? '') === f.path)?.content ?? Buffer.alloc(0)
      const aimed = place.style === 'pixi' ? Buffer.from(file.link) : leads
      paths.push(recordOf(file, path, aimed, aimed, place.style))
      continue
    }
    const original = pkg.files.find((f) => f.path === file.hardlink) ?? file
    const before = original.content ?? Buffer.alloc(0)
    const after = original.placeholder ? relocated(before, original.placeholder, place.prefix) : before
    if (file.hardlink === undefined) put(join(extracted, file.path), before, file.mode)
    else linkSync(join(extracted, file.hardlink), join(extracted, file.path))
    mkdirSync(dirname(target), { recursive: true })
    if (!original.placeholder) linkSync(join(extracted, file.path), target)
    else if (file.hardlink === undefined) put(target, after, file.mode)
    else linkSync(join(place.prefix, file.hardlink), target)
    // conda records the short path of a noarch file here, and the real one in `files`.
    const named = { ...original, path: file.path }
    paths.push(recordOf(named, place.style === 'conda' ? file.path : path, before, after, place.style))
  }
  for (const point of pkg.entryPoints ?? []) {
    const [name = '', module = '', run = ''] = point.split(/\s*[=:]\s*/)
    const script = `#!${place.prefix}/bin/python3.11\nimport sys\nfrom ${module} import ${run}\nsys.exit(${run}())\n`
    put(join(place.prefix, 'bin', name), script, 0o775)
    files.push(`bin/${name}`)
    // rattler hashes what it wrote, prefix and all.
    const hashed = place.style === 'pixi' ? { sha256: sha256(Buffer.from(script)), size_in_bytes: script.length } : {}
    paths.push({ _path: `bin/${name}`, path_type: 'unix_python_entry_point', ...hashed })
  }
  const index = {
    name: pkg.name,
    version: pkg.version,
    build: '0',
    build_number: 0,
    subdir: pkg.noarch ? 'noarch' : 'linux-64',
    depends: [],
  }
  const url = `https://conda.example.org/sample/${index.subdir}/${dist}.conda`
  const noarch = pkg.noarch ? { noarch: pkg.noarch } : {}
  const record = {
    ...index,
    ...noarch,
    channel: 'https://conda.example.org/sample',
    url,
    fn: `${dist}.conda`,
    files,
    paths_data: { paths, paths_version: 1 },
    extracted_package_dir: extracted,
    package_tarball_full_path: `${extracted}.conda`,
    link: place.style === 'pixi' ? null : { source: extracted, type: 1 },
    requested_spec: pkg.name,
  }
  put(join(extracted, 'info/index.json'), JSON.stringify({ ...index, ...noarch }))
  put(
    join(extracted, 'info/paths.json'),
    JSON.stringify({ paths: pkg.files.map((f) => ({ _path: f.path, path_type: 'hardlink' })), paths_version: 1 }),
  )
  put(join(place.prefix, 'conda-meta', `${dist}.json`), `${JSON.stringify(record, null, 2)}\n`)
}

/** What users add themselves: nothing of it is recorded. */
function installByHand(prefix: string): void {
  const site = join(prefix, sitePackages)
  const config = `{"python": "${prefix}/bin/python", "data": "${prefix}/share/sample", "other": "${prefix}-other"}\n`
  put(join(prefix, 'bin/pip-tool'), `#!${prefix}/bin/python3.11\nprint('pip-tool')\n`, 0o755)
  put(join(site, 'pip_tool/__init__.py'), 'VERSION = 1\n')
  put(join(site, 'pip_tool/config.json'), config)
  put(join(site, 'pip_tool/_native.so'), compileLibrary(prefix), 0o755)
  put(
    join(site, 'pip_tool/__pycache__/__init__.cpython-311.pyc'),
    bytecode(packageTime, 12, `${site}/pip_tool/__init__.py`),
  )
  put(join(site, 'pip_tool-1.dist-info/METADATA'), 'Metadata-Version: 2.1\nName: pip-tool\nVersion: 1\n')
  put(join(prefix, 'etc/conda/activate.d/sample.sh'), `export SAMPLE_HOME="${prefix}/share/sample"\n`)
  put(join(prefix, 'conda-meta/state'), '{"version": 1, "env_vars": {"SAMPLE_STATE": "set"}}\n')
  link(join(prefix, 'share/current'), join(prefix, 'share/sample'))
  link(join(prefix, 'share/dangling'), 'nowhere')
  link(join(prefix, 'share/hosts'), '/etc/hosts')
  mkdirSync(join(prefix, 'var/empty'), { recursive: true })
  put(join(prefix, 'share/twin-a'), 'one file, two names\n')
  linkSync(join(prefix, 'share/twin-a'), join(prefix, 'share/twin-b'))
}

/**
 * Makes the environment beneath `root` and returns where it is. Takes about two seconds without filler.
 * Needs g++; throws what it threw when that fails.
 */
export function makeSampleEnvironment(root: string, options: SampleOptions = {}): Sample {
  const prefix = options.prefix ?? join(root, 'home/alice/.conda/envs/sample')
  const packageCache = join(root, 'home/alice/.conda/pkgs')
  if (existsSync(prefix)) throw new Error(`${prefix} exists`)
  mkdirSync(join(prefix, 'conda-meta'), { recursive: true })
  const place: Place = { prefix, cache: packageCache, style: options.style ?? 'conda' }
  const packages = samplePackages(options.filler ?? 0)
  for (const pkg of packages) installPackage(pkg, place)
  installByHand(prefix)
  if (place.style !== 'pixi') {
    const lines = packages.map((pkg) => `+https://conda.example.org/sample::${pkg.name}-${pkg.version}-0\n`).join('')
    put(
      join(prefix, 'conda-meta/history'),
      `==> 2020-09-13 12:26:40 <==\n# cmd: /opt/conda/bin/conda create -p ${prefix} sample\n${lines}`,
    )
  }
  return { prefix, packageCache }
}

/**
 * Archives as conda-pack lays them out, of an environment that `makeEnvironment` has made: order of members, which bytes it takes,
 * what it rewrites, what it notes in `bin/conda-unpack`. Own code throughout; the script's body does nothing.
 */
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { type Header, pack } from 'tar-stream'
import { type FakeEnvironment, type FakeFile, here, placeholder } from './make-env.js'

export type Packed = Partial<Header> & { readonly name: string; readonly data?: Buffer }

export interface CondaPacking {
  /** Folder that everything is put into. */
  readonly arcroot?: string
  /** Packages that were not in the package cache: their files are taken as installed. */
  readonly uncached?: readonly string[]
  /** Changes the members before they are written. */
  readonly edit?: (members: Packed[]) => Packed[]
}

const time = 1_700_000_000
const sitePackages = 'lib/python3.11/site-packages'

/** The tar, not compressed, of the environment `what` that stands at `prefix`. */
export async function condaPackTar(prefix: string, what: FakeEnvironment, options: CondaPacking = {}): Promise<Buffer> {
  const { members, records } = collect(prefix, what, options.uncached ?? [])
  const sorted = members.sort((a, b) => (a.name < b.name ? -1 : 1))
  const script = (name: string, data: string, mode = 0o644): Packed => ({
    name,
    data: Buffer.from(data),
    mode,
    pax: { mtime: `${time}.25` },
  })
  const all = [
    ...sorted,
    script('bin/activate', '# activates\n'),
    script('bin/conda_unpack_progress.py', '# shows progress\n', 0o600),
    script('bin/conda-unpack', unpacker(records), 0o755),
  ]
  const root = options.arcroot === undefined ? '' : `${options.arcroot}/`
  return await tarOf((options.edit?.(all) ?? all).map((member) => ({ ...member, name: root + member.name })))
}

export async function tarOf(members: readonly Packed[]): Promise<Buffer> {
  const tar = pack()
  const chunks: Buffer[] = []
  const done = (async () => {
    for await (const chunk of tar as unknown as AsyncIterable<Buffer>) chunks.push(chunk)
  })()
  for (const { data, ...header } of members)
    tar.entry({ mtime: new Date(time * 1000), ...header }, data ?? Buffer.alloc(0))
  tar.finalize()
  await done
  return Buffer.concat(chunks)
}

type Note = readonly [path: string, placeholder: string, mode: 'text' | 'binary']

const unpacker = (records: readonly Note[]): string => {
  const list = records
    .filter(([path]) => !path.startsWith('bin/python'))
    .map((record) => `(${record.map(quoted).join(', ')})`)
  return `#!/usr/bin/env python\n\n_prefix_records = [\n${list.join(',\n')}\n]\n\nif __name__ == '__main__':\n        print('conda-unpack 0.9.0')\n`
}

/** As Python's repr: single quotes, or double ones where that saves escapes. */
function quoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'"
  return `${quote}${text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll(quote, `\\${quote}`)}${quote}`
}

/** Bytes of a file as its package has them. */
const packaged = (file: FakeFile): Buffer =>
  Buffer.from(
    (file.binary ?? file.text ?? '').replaceAll(here, placeholder),
    file.binary === undefined ? 'utf8' : 'latin1',
  )

function collect(
  prefix: string,
  what: FakeEnvironment,
  uncached: readonly string[],
): { members: Packed[]; records: Note[] } {
  const members: Packed[] = []
  const records: Note[] = []
  const managed = new Set<string>()
  const file = (name: string, data: Buffer): Packed => ({
    name,
    data,
    mode: lstatSync(join(prefix, name)).mode & 0o777,
    pax: { mtime: `${time}.5` },
  })
  for (const { name, noarch, files = [] } of what.packages) {
    if (uncached.includes(name)) continue
    for (const one of files) {
      const path =
        noarch === 'python'
          ? one.path.replace(/^site-packages\//, `${sitePackages}/`).replace(/^python-scripts\//, 'bin/')
          : one.path
      managed.add(path)
      if (one.link !== undefined) members.push(link(path, one.link))
      else {
        const rewritten = (one.binary ?? one.text ?? '').includes(here)
        const mode = one.binary === undefined ? 'text' : 'binary'
        const data = rewritten && mode === 'text' ? shebang(path, packaged(one), placeholder) : null
        members.push(file(path, data ?? packaged(one)))
        if (rewritten && data === null) records.push([path, placeholder, mode])
      }
    }
  }
  for (const path of filesOf(prefix)) {
    const full = join(prefix, path)
    if (managed.has(path)) continue
    if (lstatSync(full).isSymbolicLink()) members.push(link(path, readlinkSync(full)))
    else if (path.startsWith('conda-meta/'))
      members.push(file(path, path.endsWith('.json') ? anonymous(readFileSync(full)) : readFileSync(full)))
    else {
      const data = readFileSync(full)
      const isText = Buffer.from(data.toString('utf8')).equals(data)
      const changed = isText ? shebang(path, data, prefix) : null
      members.push(file(path, changed ?? data))
      if (isText && changed === null) records.push([path, prefix, 'text'])
    }
  }
  return { members, records }
}

const link = (name: string, linkname: string): Packed => ({ name, type: 'symlink', linkname, mode: 0o777 })

/** In `bin`, a first line that holds the only prefix of a script names its interpreter by PATH; null: not so. */
function shebang(path: string, data: Buffer, prefix: string): Buffer | null {
  const text = data.toString('latin1')
  const line = /^#! *(\/[^ \n]*)(.*)$/m.exec(text)
  if (!path.startsWith('bin/') || !text.startsWith('#!') || line?.index !== 0) return null
  if (!line[1]?.startsWith(prefix) || text.split(prefix).length > 2) return null
  return Buffer.from(text.replace(line[0], `#!/usr/bin/env ${line[1].split('/').at(-1)}${line[2]}`), 'latin1')
}

function anonymous(json: Buffer): Buffer {
  const record = JSON.parse(json.toString())
  record.extracted_package_dir = ''
  record.package_tarball_full_path = ''
  if (record.link) record.link.source = ''
  return Buffer.from(JSON.stringify(record, null, 1))
}

function filesOf(prefix: string, folder = ''): string[] {
  return readdirSync(join(prefix, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = folder === '' ? entry.name : `${folder}/${entry.name}`
    return entry.isDirectory() ? filesOf(prefix, path) : [path]
  })
}

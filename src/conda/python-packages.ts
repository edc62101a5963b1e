/**
 * Python packages that no conda package brought: what pip, uv and others left in site-packages, read from `*.dist-info` and `*.egg-info`
 * without running Python. As conda sees them: a package counts by its RECORD (or PKG-INFO, or link), and is conda's where a conda package
 * owns that file. https://packaging.python.org/en/latest/specifications/recording-installed-packages/
 */
import { readdir, realpath } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { ifThere, textIfThere } from '../tree/if-there.js'

export interface PythonPackage {
  /** As conda writes it: lower case, with dashes. */
  readonly name: string
  readonly version: string
  /** Beneath site-packages, e.g. `flask-2.2.2.dist-info`. */
  readonly folder: string
  /** Where it was installed from, where that is noted (`direct_url.json`); null: an index. */
  readonly source: { readonly url: string; readonly sha256: string | null; readonly editable: boolean } | null
}

export interface PythonPackages {
  /** By their names. */
  readonly packages: readonly PythonPackage[]
  /** Files by which conda packages would be known as Python packages, and which are gone: pip removed or replaced those. */
  readonly lost: readonly string[]
}

/** `owned`: paths of all conda packages. Throws IO, PERMISSION. */
export async function pythonPackages(
  prefix: string,
  sitePackages: string,
  owned: ReadonlySet<string>,
): Promise<PythonPackages> {
  const folder = join(prefix, sitePackages)
  const anchors = await anchorsIn(folder)
  // `lib/python3.1` may be a link to `lib/python3.13`: conda packages were installed by one name or the other.
  const names = [...new Set([sitePackages, relative(await true_(prefix), await true_(folder))])]
  const isOwned = (anchor: string): boolean => names.some((name) => owned.has(`${name}/${anchor}`))
  const there = new Set(anchors.flatMap((anchor) => names.map((name) => `${name}/${anchor}`)))
  const inSite = (path: string): boolean =>
    names.some((name) => path.startsWith(`${name}/`) && isAnchor(path.slice(name.length + 1)))
  const found = await Promise.all(anchors.filter((anchor) => !isOwned(anchor)).map((anchor) => read(folder, anchor)))
  return {
    packages: found.filter((one) => one !== null).sort((a, b) => (a.name < b.name ? -1 : 1)),
    lost: [...owned].filter((path) => inSite(path) && !there.has(path)),
  }
}

const isAnchor = (path: string): boolean => /^[^/]+(\.dist-info\/RECORD|\.egg-info\/PKG-INFO|\.egg-info)$/.test(path)

/** Files that say that a package is there, relative to site-packages. */
async function anchorsIn(folder: string): Promise<string[]> {
  const found = await Promise.all(
    (await names(folder)).map(async (name) => {
      const file = name.endsWith('.dist-info') ? 'RECORD' : name.endsWith('.egg-info') ? 'PKG-INFO' : null
      if (file === null) return null
      const inside = await names(join(folder, name))
      // Of distutils: one file, and no folder.
      if (inside.length === 0 && file === 'PKG-INFO') return name
      return inside.includes(file) ? `${name}/${file}` : null
    }),
  )
  return found.filter((one) => one !== null).sort()
}

async function read(folder: string, anchor: string): Promise<PythonPackage | null> {
  const [own = '', file] = anchor.split('/')
  const metadata =
    file === undefined ? own : join(own, own.endsWith('.dist-info') ? 'METADATA' : (file satisfies string))
  const headers = headersOf((await textIfThere(join(folder, metadata))) ?? '')
  const [name, version] = [headers.get('name'), headers.get('version')]
  if (name === undefined || version === undefined) return null
  const source = sourceOf(await textIfThere(join(folder, own, 'direct_url.json')))
  return { name: name.toLowerCase().replace(/[._]/g, '-'), version, folder: own, source }
}

/** The head of a METADATA file, which is written like that of a mail. */
function headersOf(text: string): ReadonlyMap<string, string> {
  const headers = new Map<string, string>()
  for (const line of text.split(/\r?\n/)) {
    if (line === '') break
    const [, key, value] = /^([A-Za-z-]+):\s*(.*?)\s*$/.exec(line) ?? []
    if (key !== undefined && value !== undefined && !headers.has(key.toLowerCase()))
      headers.set(key.toLowerCase(), value)
  }
  return headers
}

function sourceOf(text: string | null): PythonPackage['source'] {
  if (text === null) return null
  try {
    const { url, archive_info, dir_info } = JSON.parse(text) as {
      readonly url?: unknown
      readonly archive_info?: { readonly hashes?: { readonly sha256?: unknown }; readonly hash?: unknown }
      readonly dir_info?: { readonly editable?: unknown }
    }
    if (typeof url !== 'string') return null
    const old = typeof archive_info?.hash === 'string' ? /^sha256=(.+)$/.exec(archive_info.hash)?.[1] : undefined
    const sha256 = archive_info?.hashes?.sha256 ?? old
    return { url, sha256: typeof sha256 === 'string' ? sha256 : null, editable: dir_info?.editable === true }
  } catch {
    // What is no JSON says nothing; the package is there all the same.
    return null
  }
}

/** Of what is no folder, or not there: none. */
async function names(folder: string): Promise<string[]> {
  return (await ifThere(readdir(folder), folder)) ?? []
}

const true_ = async (path: string): Promise<string> => (await ifThere(realpath(path), path)) ?? path

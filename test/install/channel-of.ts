/** A small channel written to disk: what solver tests choose from. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Index } from '../../src/install/solve.js'

export interface Offered {
  readonly name: string
  readonly version: string
  readonly build?: string
  readonly number?: number
  readonly depends?: readonly string[]
  readonly constrains?: readonly string[]
  readonly noarch?: 'python' | 'generic'
  readonly timestamp?: number
  readonly kind?: 'conda' | 'tar.bz2'
  readonly more?: Readonly<Record<string, unknown>>
}

/** Indexes of linux-64 and noarch of a channel in `folder`. */
export function channelOf(folder: string, name: string, offered: readonly Offered[]): Index[] {
  const base = pathToFileURL(join(folder, name)).href
  return ['linux-64', 'noarch'].map((subdir) => {
    const index = {
      info: { subdir },
      packages: {} as Record<string, unknown>,
      'packages.conda': {} as Record<string, unknown>,
    }
    for (const one of offered.filter((item) => (item.noarch === undefined) === (subdir !== 'noarch'))) {
      const { build = '0', number = 0, kind = 'conda', depends = [], constrains = [] } = one
      const document = {
        ...{ name: one.name, version: one.version, build, build_number: number, depends, constrains, subdir },
        ...{ size: 1000, md5: '0'.repeat(32), sha256: '0'.repeat(64) },
        ...(one.noarch === undefined ? {} : { noarch: one.noarch }),
        ...(one.timestamp === undefined ? {} : { timestamp: one.timestamp }),
        ...one.more,
      }
      index[kind === 'conda' ? 'packages.conda' : 'packages'][`${one.name}-${one.version}-${build}.${kind}`] = document
    }
    const file = join(folder, name, subdir, 'repodata.json')
    mkdirSync(join(folder, name, subdir), { recursive: true })
    writeFileSync(file, JSON.stringify(index))
    return { base, name, subdir, file }
  })
}

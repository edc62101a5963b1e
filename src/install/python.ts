/** What the python of an environment decides about the packages that are installed for it: where their files go, and what is compiled of them. */
import { defaultSitePackages } from '../conda/noarch.js'
import type { RepoRecord } from './repodata.js'
import type { EntryPoint } from './unpacked.js'

export interface Python {
  /** `3.11` */
  readonly version: string
  /** Relative to the prefix. */
  readonly sitePackages: string
}

/** The python among packages. */
export function pythonOf(records: readonly RepoRecord[]): Python | null {
  const record = records.find(({ name }) => name === 'python')
  return record === undefined ? null : pythonFrom(record.version, record.raw)
}

/** Of a package of python: what its index says of it. */
export function pythonFrom(version: string, index: Readonly<Record<string, unknown>>): Python {
  const own = index['python_site_packages_path']
  return {
    version: version.split('.').slice(0, 2).join('.'),
    sitePackages: typeof own === 'string' && own !== '' ? own : defaultSitePackages(version),
  }
}

/** Of a path in a noarch: python package: is it compiled? */
export const isPythonSource = (path: string): boolean => /^site-packages\/.+\.py$/.test(path)

/** Where Python keeps what it compiled: `a/__pycache__/b.cpython-311.pyc`. `more`: of another optimization, `.opt-1`. */
export function pycOf(path: string, version: string, more = ''): string {
  const slash = path.lastIndexOf('/') + 1
  return `${path.slice(0, slash)}__pycache__/${path.slice(slash, -3)}.cpython-${version.replace('.', '')}${more}.pyc`
}

/** Linux reads no longer first lines (BINPRM_BUF_SIZE before 5.1), and none with a blank in the program's path. */
const longestShebang = 127

/** The script that conda makes of an entry point. */
export function entryPointText({ module, func }: EntryPoint, prefix: string, version: string): string {
  const python = `${prefix}/bin/python${version}`
  const plain = `#!${python}\n`
  const quoted = python.replace(/[\\"$`]/g, '\\$&')
  const shebang =
    plain.length > longestShebang || python.includes(' ') ? `#!/bin/sh\n'''exec' "${quoted}" "$0" "$@" #'''\n` : plain
  return `${shebang}# -*- coding: utf-8 -*-
import re
import sys

from ${module} import ${func.split('.')[0]}

if __name__ == '__main__':
    sys.argv[0] = re.sub(r'(-script\\.pyw?|\\.exe)?$', '', sys.argv[0])
    sys.exit(${func}())
`
}

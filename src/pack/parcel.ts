/** Parcels of Cloudera, as conda-pack lays them out: a tar.gz with its place in its names and its prefixes, and two files in `meta`. */
import type { Environment } from '../conda/environment.js'
import { EnvError } from '../errors.js'
import type { PlanOptions } from './plan.js'

export interface ParcelOptions {
  readonly parcelRoot?: string | undefined
  readonly parcelName?: string | undefined
  readonly parcelVersion?: string | undefined
  readonly parcelDistro?: string | undefined
}

export interface Parcel {
  readonly name: string
  readonly version: string
  readonly distro: string
  /** Folder in the archive, prefix of the files, and name of the file. */
  readonly arcroot: string
  readonly dest: string
  readonly file: string
}

/** `environment`: its name; `now`: the default version is its local date. Throws INVALID_OPTION with conda-pack's words. */
export function parcelOf(options: ParcelOptions, environment: string, now: Date): Parcel {
  const { parcelRoot = '/opt/cloudera/parcels', parcelName: name = environment } = options
  const { parcelVersion: version = today(now), parcelDistro: distro = 'el7' } = options
  if (name.includes('-')) throw new EnvError('INVALID_OPTION', `Parcel names may not have dashes: ${name}`)
  if (distro.includes('-')) throw new EnvError('INVALID_OPTION', `Parcel distributions may not have dashes: ${distro}`)
  const arcroot = `${name}-${version}`
  const dest = `${parcelRoot.replace(/\/+$/, '')}/${arcroot}`
  return { name, version, distro, arcroot, dest, file: `${arcroot}-${distro}.parcel` }
}

const two = (value: number): string => String(value).padStart(2, '0')
const today = (now: Date): string => `${now.getFullYear()}.${two(now.getMonth() + 1)}.${two(now.getDate())}`

/** The texts of `meta`, in place of activation scripts and conda-unpack. */
export function parcelScripts(parcel: Parcel, environment: Environment): PlanOptions['scripts'] {
  const { name, version, distro } = parcel
  const json = {
    components: [{ name, pkg_version: version, version }],
    extraVersionInfo: { baseVersion: version, fullVersion: `${version}-${distro}`, patchCount: '0' },
    groups: [],
    name,
    packages: environment.packages.map(({ record }) => ({
      name: record.name,
      version: `${record.version}-${record.build}`,
    })),
    provides: ['spark-plugin'],
    schema_version: 1,
    scripts: { defines: 'conda_env.sh' },
    setActiveSymlink: true,
    users: {},
    version,
  }
  return [
    { path: 'meta/conda_env.sh', text: defines, mode: 0o644 },
    { path: 'meta/parcel.json', text: `${JSON.stringify(json, null, 2)}\n`, mode: 0o644 },
  ]
}

/** Read by the agent's shell inside a function, with the parcel's place in PARCELS_ROOT and PARCEL_DIRNAME. */
const defines = `#!/bin/bash
# Of this parcel: its python, unless another one is asked for, and what its packages do at activation.
local CDH_PREFIX="\${PARCELS_ROOT}/\${PARCEL_DIRNAME}"
if [ -z "\${CDH_PYTHON}" ]; then
    export CDH_PYTHON="\${CDH_PREFIX}/bin/python"
fi
local _conda_env_script
for _conda_env_script in "\${CDH_PREFIX}"/etc/conda/activate.d/*.sh; do
    if [ -f "$_conda_env_script" ]; then
        . "$_conda_env_script"
    fi
done
`

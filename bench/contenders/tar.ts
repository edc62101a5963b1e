/** GNU tar with what decompresses beside it, and conda-unpack. */
import type { Contender } from '../contender.js'
import type { Artefact, Lab } from '../lab.js'
import { has } from '../lab.js'

const needs = (program: string) => () => (has(program) ? undefined : `${program} is not installed`)

/** The published recipe: unpack on the node, make it writable, fix the prefixes with the Python in the environment. */
const recipeOf = (name: string, program: string, archive: Artefact): Contender => ({
  name,
  leaves: 'relocated',
  command: (lab, target) =>
    `mkdir '${target}'; tar -I ${program} -xf '${lab.need(archive)}' -C '${target}'; chmod -R u+w '${target}'; ` +
    `PATH='${target}/bin':"$PATH" '${target}/bin/conda-unpack' >/dev/null 2>&1`,
  missing: needs(program),
})

export const recipe: Contender = recipeOf('tar -xzf + chmod + conda-unpack', 'gzip', 'recipe-j1.tar.gz')
export const recipeSecond: Contender = recipeOf('the same, of the -j 2 archive', 'gzip', 'recipe-j2.tar.gz')
export const recipePigz: Contender = recipeOf('tar -I pigz + chmod + conda-unpack', 'pigz', 'recipe-j1.tar.gz')
export const recipeZstd: Contender = recipeOf('tar -I zstd + chmod + our conda-unpack', 'zstd', 'ours.tar.zst')

export const tarZstd: Contender = {
  name: 'tar -I zstd -xf (relocates nothing)',
  leaves: 'stored',
  command: (lab, target) => `mkdir '${target}'; exec tar -I zstd -xf '${lab.need('ours.tar.zst')}' -C '${target}'`,
  missing: needs('zstd'),
}

export const copy: Contender = {
  name: 'cp -r of the tree (from memory)',
  leaves: 'stored',
  command: (lab, target) => `exec cp -r '${lab.env}' '${target}'`,
}

/** Packs and neither hashes, scans nor indexes. */
export const tarPipeZstd: Contender = {
  name: 'tar -c, zstd -4 -T2',
  command: (lab, target) => `tar -C '${lab.env}' -cf - . | zstd -q -4 -T${lab.threads} -o '${target}.tar.zst'`,
  missing: needs('zstd'),
}

export const condaPack: Contender = {
  name: 'conda-pack --format tar.gz -j 2',
  command: (lab, target) => `${lab.condaPack} -p '${lab.env}' -o '${target}.tar.gz' -q -j ${lab.threads}`,
  missing: (lab: Lab) => (lab.condaPack ? undefined : 'CONDA_PACK names no conda-pack command'),
}

export const sha256sum: Contender = {
  name: 'sha256sum by xargs -P',
  command: (lab) =>
    `find '${lab.need('deployed')}' -type f -print0 | xargs -0 -n 400 -P ${lab.threads} sha256sum >/dev/null`,
}

import type { Contender } from '../contender.js'
import { has } from '../lab.js'

/** The published recipe: unpack on the node, make it writable, fix the prefixes with the Python in the environment. */
export const recipe: Contender = {
  name: 'tar -xzf + chmod + conda-unpack',
  command: (lab, target) =>
    `mkdir '${target}'; tar -xzf '${lab.recipeArchive}' -C '${target}'; chmod -R u+w '${target}'; PATH='${target}/bin':"$PATH" '${target}/bin/conda-unpack'`,
}

/** Unpacks and relocates nothing. */
export const tarZstd: Contender = {
  name: 'tar -I zstd -xf (relocates nothing)',
  command: (lab, target) => `mkdir '${target}'; tar -I zstd -xf '${lab.archive}' -C '${target}'`,
  missing: () => (has('zstd') ? undefined : 'zstd is not installed (apt-get install zstd)'),
}

/** Packs and neither hashes, scans nor indexes. */
export const tarPipeZstd: Contender = {
  name: 'tar -c, zstd -4 -T2',
  command: (lab, target) => `tar -C '${lab.env}' -cf - . | zstd -q -4 -T${lab.threads} -o '${target}.tar.zst'`,
  missing: () => (has('zstd') ? undefined : 'zstd is not installed (apt-get install zstd)'),
}

export const sha256sum: Contender = {
  name: 'sha256sum by xargs -P2',
  command: (lab) =>
    `find '${lab.work}/deployed' -type f -print0 | xargs -0 -n 400 -P ${lab.threads} sha256sum >/dev/null`,
}

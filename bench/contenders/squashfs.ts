import { existsSync } from 'node:fs'
import type { Contender } from '../contender.js'
import { has, type Lab } from '../lab.js'
import { deploy } from './ours.js'

const needs = (...programs: string[]): string | undefined => {
  const missing = programs.filter((program) => !has(program))
  return missing.length === 0 ? undefined : `${missing.join(', ')}: not installed`
}

export const unsquashfs: Contender = {
  name: 'unsquashfs (relocates nothing)',
  leaves: 'stored',
  command: (lab, target) =>
    `exec unsquashfs -q -n -p ${lab.threads} -d '${target}' '${lab.need('image.squashfs')}' >/dev/null`,
  missing: () => needs('mksquashfs', 'unsquashfs'),
}

/** What a session begins with. */
const imports = 'import IPython, nbconvert, notebook'
const python = (prefix: string): string => `'${prefix}/bin/python' -B -c '${imports}'`
const real = (lab: Lab): string | undefined =>
  existsSync(`${lab.env}/lib/python3.11/site-packages/notebook`) ? undefined : 'the environment has no notebook'

export const mountAndImport: Contender = {
  name: 'squashfuse, then the first import',
  command: (lab, target) =>
    `mkdir '${target}'; squashfuse '${lab.need('image.squashfs')}' '${target}'; trap "fusermount3 -u '${target}'" EXIT; ${python(target)}`,
  missing: (lab) => needs('squashfuse', 'fusermount3') ?? real(lab),
}

export const deployAndImport: Contender = {
  name: 'conda-deploy, then the first import',
  command: (lab, target) => `${deploy.command(lab, target).replace(/^exec /, '')}; ${python(target)}`,
  missing: real,
}

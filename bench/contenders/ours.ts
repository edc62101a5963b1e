import type { Contender } from '../contender.js'
import type { Artefact, Lab } from '../lab.js'
import { sh } from '../lab.js'

const deployOf = (name: string, archive: Artefact, threads?: number): Contender => ({
  name,
  leaves: 'relocated',
  ours: true,
  command: (lab, target) =>
    `exec ${lab.ours} '${lab.need(archive)}' --to '${target}' --threads ${threads ?? lab.threads} --quiet`,
})

export const deploy: Contender = deployOf('conda-deploy', 'ours.tar.zst')
export const deployFirst: Contender = deployOf("conda-deploy, conda-pack's -j 1", 'recipe-j1.tar.gz')
export const deploySecond: Contender = deployOf("conda-deploy, conda-pack's -j 2", 'recipe-j2.tar.gz')
export const deployBy = (threads: number): Contender =>
  deployOf(`conda-deploy --threads ${threads}`, 'ours.tar.zst', threads)

/** The second job on a node. */
export const again: Contender = {
  name: 'conda-deploy, again',
  before: (lab: Lab, target) => sh(deploy.command(lab, target)),
  command: deploy.command,
}

export const pack: Contender = {
  name: 'conda-deploy pack',
  command: (lab, target) => `exec ${lab.ours} pack -p '${lab.env}' -o '${target}.tar.zst' --threads ${lab.threads} -q`,
}

export const verify: Contender = {
  name: 'conda-deploy verify',
  command: (lab) => `exec ${lab.ours} verify '${lab.need('deployed')}' --threads ${lab.threads} --quiet`,
}

export const version: Contender = {
  name: 'conda-deploy --version',
  command: (lab) => `exec ${lab.ours} --version`,
}

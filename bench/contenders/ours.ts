import type { Contender } from '../contender.js'

const deployOf = (name: string, archive: 'archive' | 'recipeArchive', more = ''): Contender => ({
  name,
  command: (lab, target) =>
    `${lab.ours} deploy '${lab[archive]}' --to '${target}' --threads ${lab.threads} --quiet ${more}`,
})

export const deploy: Contender = deployOf('conda-deploy', 'archive')
export const deployRecipe: Contender = deployOf('conda-deploy, the .tar.gz', 'recipeArchive')
export const pack: Contender = {
  name: 'conda-deploy pack',
  command: (lab, target) => `${lab.ours} pack -p '${lab.env}' -o '${target}.tar.zst' -j ${lab.threads} -q`,
}
export const verify: Contender = {
  name: 'conda-deploy verify',
  command: (lab) => `${lab.ours} verify '${lab.work}/deployed' --quiet`,
}

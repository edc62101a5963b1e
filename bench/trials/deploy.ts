import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Trial } from '../contender.js'
import { bareCreation, bareDecoding, node } from '../contenders/floor.js'
import { deploy, deployRecipe } from '../contenders/ours.js'
import { recipe, tarZstd } from '../contenders/tar.js'

const relocates = new Set([deploy.name, deployRecipe.name, recipe.name])

export const deployTrial: Trial = {
  name: 'deploy',
  title: 'from the archive to a working environment',
  contenders: [deploy, deployRecipe, recipe, tarZstd, bareCreation, bareDecoding, node],
  floor: [bareCreation.name, bareDecoding.name, node.name],
  check(_lab, contender, target) {
    const python = join(target, 'bin/python')
    if (!relocates.has(contender.name) || !existsSync(python)) return
    const purelib = 'import sysconfig; print(sysconfig.get_config_var("prefix"), sysconfig.get_config_var("LIBDIR"))'
    const said = execFileSync(python, ['-c', purelib], { encoding: 'utf8' }).trim()
    if (said !== `${target} ${target}/lib`) throw new Error(`${contender.name}: the deployed python says ${said}`)
  },
}

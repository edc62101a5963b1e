/** The place a benchmark works in: one environment, the archives made of it, the programs it needs. Everything lies under one folder. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join, resolve } from 'node:path'
import { makeCorpus } from './corpus.js'

export interface Lab {
  /** The folder; on tmpfs unless told otherwise, so that a disk's noise does not drown the answer. */
  readonly work: string
  /** The environment, and a word for it. */
  readonly env: string
  readonly corpus: string
  readonly threads: number
  /** Command lines. */
  readonly ours: string
  readonly floor: string
  /** The real conda-pack, when `CONDA_PACK` names its command. */
  readonly condaPack: string | undefined
  /** Archives of the environment: ours; and the `.tar.gz` of the recipe with the `conda-unpack` in it. */
  readonly archive: string
  readonly recipeArchive: string
  readonly recipeMaker: string
  /** The environment as one flat file, for the floor. */
  readonly blob: string
  readonly root: string
}

export const sh = (command: string): void => {
  execFileSync('sh', ['-ec', command], { stdio: ['ignore', 'ignore', 'inherit'] })
}

export const has = (program: string): boolean => {
  try {
    execFileSync('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

/** Removes a tree of whatever modes, outside of any measurement. */
export const clear = (path: string): void =>
  sh(`if [ -e '${path}' ]; then chmod -R u+w '${path}'; rm -rf '${path}'; fi`)

export interface LabOptions {
  readonly env?: string
  readonly work?: string
  readonly threads?: number
}

export async function openLab(root: string, options: LabOptions): Promise<Lab> {
  const parent = options.work ?? (existsSync('/dev/shm') ? '/dev/shm' : (process.env['TMPDIR'] ?? '/tmp'))
  const work = mkdtempSync(join(resolve(parent), 'conda-deploy-bench-'))
  try {
    const { env, corpus } = options.env
      ? { env: resolve(options.env), corpus: options.env }
      : await makeCorpus(root, join(work, 'corpus'))
    const threads = options.threads ?? availableParallelism()
    const lab: Lab = {
      work,
      env,
      corpus,
      threads,
      root,
      ours: `node '${join(root, 'dist/conda-deploy.cjs')}'`,
      floor: buildFloor(root),
      condaPack: process.env['CONDA_PACK'],
      archive: join(work, 'ours.tar.zst'),
      recipeArchive: join(work, 'recipe.tar.gz'),
      recipeMaker: process.env['CONDA_PACK'] ? 'conda-pack' : 'tar and gzip of our tree',
      blob: join(work, 'blob'),
    }
    sh(`${lab.ours} pack -p '${env}' -o '${lab.archive}' -q`)
    makeRecipeArchive(lab)
    sh(`'${lab.floor}' make '${env}' '${lab.blob}'`)
    return lab
  } catch (error) {
    closeLab({ work })
    throw error
  }
}

export const closeLab = (lab: Pick<Lab, 'work'>): void => {
  clear(lab.work)
  rmSync(lab.work, { recursive: true, force: true })
}

/** What the recipe unpacks: conda-pack's own archive, or our members in a .tar.gz, whose conda-unpack stands for conda-pack's. */
function makeRecipeArchive(lab: Lab): void {
  if (lab.condaPack) {
    sh(`${lab.condaPack} -p '${lab.env}' -o '${lab.recipeArchive}' -q -j ${lab.threads}`)
    return
  }
  const tree = join(lab.work, 'recipe-tree')
  mkdirSync(tree)
  sh(`tar -I zstd -xf '${lab.archive}' -C '${tree}'; tar -C '${tree}' -cf - . | gzip -4 > '${lab.recipeArchive}'`)
  clear(tree)
}

function buildFloor(root: string): string {
  const folder = join(root, 'build-bench')
  sh(
    `cmake -S '${root}' -B '${folder}' -DCONDA_DEPLOY_BENCH=ON -DCMAKE_BUILD_TYPE=Release >/dev/null; cmake --build '${folder}' --target floor -j 2 >/dev/null`,
  )
  return join(folder, 'floor')
}

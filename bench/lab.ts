/** The place a benchmark works in: one environment, the archives made of it, the programs it needs. Everything lies under one folder. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { type CorpusName, growEnvironment, makeJupyter } from './corpus/corpus.js'
import { updatePackage } from './corpus/update.js'

export interface Settings {
  /** The checkout. */
  readonly root: string
  /** A folder for everything that is made; removed at the end. */
  readonly work: string
  readonly threads: number
  readonly quick: boolean
  /** Measured runs of each contender in a trial. */
  readonly rounds: number
  /** Command lines: this product, and the programs of bench/ that are written in C++. */
  readonly ours: string
  readonly floor: string
  readonly grow: string
  /** The real conda-pack, when `CONDA_PACK` names its command. */
  readonly condaPack: string | undefined
}

export interface Lab extends Settings {
  readonly corpus: CorpusName
  readonly about: string
  readonly env: string
  /** Where this corpus has its files. */
  readonly folder: string
  /** The path of something made from the environment; made when first asked for, outside of any measurement. */
  need(artefact: Artefact): string
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

/** Removes a tree of whatever modes, outside of any measurement. The modes of files stay: another tree may share them by hard links. */
export const clear = (path: string): void =>
  sh(`if [ -e '${path}' ]; then find '${path}' -type d ! -perm -u+w -exec chmod u+w {} +; rm -rf '${path}'; fi`)

/** conda-pack's own archive, or our members in a .tar.gz, whose conda-unpack stands for conda-pack's. */
function recipeArchive(lab: Lab, path: string, jobs: number): void {
  if (lab.condaPack) {
    sh(`${lab.condaPack} -p '${lab.env}' -o '${path}' -q -j ${jobs}`)
    return
  }
  const tree = `${path}.tree`
  mkdirSync(tree)
  sh(`tar -I zstd -xf '${lab.need('ours.tar.zst')}' -C '${tree}'; tar -C '${tree}' -cf - . | gzip -4 > '${path}'`)
  clear(tree)
}

/**
 * Two archives of one environment, between which one package of about the average size was updated: every file of it changed. Both are
 * packed from a writable deployment, because the environment itself is not touched.
 */
function updateArchives(lab: Lab, before: string, after: string): void {
  const env = `${after}.env`
  sh(
    `${lab.ours} '${lab.need('ours.tar.zst')}' --to '${env}' --writable -q; ${lab.ours} pack -p '${env}' -o '${before}' -q`,
  )
  const { bytes } = updatePackage(env)
  sh(`${lab.ours} pack -p '${env}' -o '${after}' -q`)
  writeFileSync(`${after}.bytes`, String(bytes))
  clear(env)
}

/** Bytes of the files that differ between the two archives of an update. */
export const updatedBytes = (lab: Lab): number => Number(readFileSync(`${lab.need('after.tar.zst')}.bytes`, 'utf8'))

/** What trials work on beside the environment itself. `before`, `after`: of an update, see updateArchives; `base`: the first, deployed. */
export type Artefact =
  | 'ours.tar.zst'
  | 'recipe-j1.tar.gz'
  | 'recipe-j2.tar.gz'
  | 'image.squashfs'
  | 'blob'
  | 'deployed'
  | 'before.tar.zst'
  | 'after.tar.zst'
  | 'base'
  | 'base.blob'

const artefacts: Readonly<Record<Artefact, (lab: Lab, path: string) => void>> = {
  'ours.tar.zst': (lab, path) => sh(`${lab.ours} pack -p '${lab.env}' -o '${path}' -q`),
  'recipe-j1.tar.gz': (lab, path) => recipeArchive(lab, path, 1),
  'recipe-j2.tar.gz': (lab, path) => recipeArchive(lab, path, 2),
  /** Compressed as ours is. */
  'image.squashfs': (lab, path) =>
    sh(`mksquashfs '${lab.env}' '${path}' -comp zstd -Xcompression-level 4 -noappend -no-xattrs -no-progress -quiet`),
  /** The environment as one flat file, for the floor. */
  blob: (lab, path) => sh(`'${lab.floor}' make '${lab.env}' '${path}'`),
  /** A deployed tree. */
  deployed: (lab, path) => sh(`${lab.ours} '${lab.need('ours.tar.zst')}' --to '${path}' -q`),
  'before.tar.zst': (lab, path) => updateArchives(lab, path, join(lab.folder, 'after.tar.zst')),
  'after.tar.zst': (lab, path) => updateArchives(lab, join(lab.folder, 'before.tar.zst'), path),
  base: (lab, path) => sh(`${lab.ours} '${lab.need('before.tar.zst')}' --to '${path}' -q`),
  'base.blob': (lab, path) => sh(`'${lab.floor}' make '${lab.need('base')}' '${path}'`),
}

export function openLab(settings: Settings, corpus: CorpusName, given?: string): Lab {
  const folder = join(settings.work, corpus)
  mkdirSync(folder)
  const { env, about } = given === undefined ? make(settings, corpus, folder) : { env: resolve(given), about: given }
  const lab: Lab = {
    ...settings,
    ...{ corpus, env, about, folder },
    need(artefact) {
      const path = join(folder, artefact)
      if (!existsSync(path)) artefacts[artefact](lab, path)
      return path
    },
  }
  return lab
}

function make(settings: Settings, corpus: CorpusName, folder: string): { env: string; about: string } {
  if (corpus === 'jupyter') return makeJupyter(settings.root, join(folder, 'corpus'))
  // Its trial makes it, a part at a time.
  if (corpus === 'scale') return { env: folder, about: 'made up, 289,524 files, 10 GB logical, and parts of it' }
  const { threads, grow } = settings
  return growEnvironment(join(folder, 'corpus'), { files: 76_000, bytes: 1.35e9, holes: false, threads, grow })
}

export const closeLab = (lab: Lab): void => clear(lab.folder)

export function makeWork(parent: string): string {
  return mkdtempSync(join(resolve(parent), 'conda-deploy-bench-'))
}

export function removeWork(work: string): void {
  clear(work)
  rmSync(work, { recursive: true, force: true })
}

/** The programs of bench/ in C++, built by CMake beneath the checkout. */
export function buildPrograms(root: string): { floor: string; grow: string } {
  const folder = join(root, 'build-bench')
  sh(
    `cmake -S '${root}' -B '${folder}' -DCONDA_DEPLOY_BENCH=ON -DCMAKE_BUILD_TYPE=Release >/dev/null; cmake --build '${folder}' -j 2 >/dev/null`,
  )
  return { floor: join(folder, 'floor'), grow: join(folder, 'grow') }
}

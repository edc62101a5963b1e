/** An update as conda makes one: every file of one package becomes another. */
import { appendFileSync, copyFileSync, lstatSync, readdirSync, readFileSync, renameSync } from 'node:fs'
import { join } from 'node:path'

interface Package {
  readonly name: string
  readonly files: readonly string[]
  readonly bytes: number
}

/** Changes the package whose size is nearest to the average of all. The bytes are those of its files afterwards. */
export function updatePackage(env: string): Package {
  const isFile = (path: string): boolean => lstatSync(join(env, path), { throwIfNoEntry: false })?.isFile() === true
  const bytesOf = (files: readonly string[]): number =>
    files.reduce((sum, path) => sum + lstatSync(join(env, path)).size, 0)
  const packages = readdirSync(join(env, 'conda-meta'))
    .filter((name) => name.endsWith('.json'))
    .map((name): Package => {
      const record = JSON.parse(readFileSync(join(env, 'conda-meta', name), 'utf8')) as Pick<Package, 'name' | 'files'>
      const files = record.files.filter(isFile)
      return { name: record.name, files, bytes: bytesOf(files) }
    })
  const average = packages.reduce((sum, { bytes }) => sum + bytes, 0) / packages.length
  const distance = ({ bytes }: Package): number => Math.abs(bytes - average)
  const [chosen] = packages.sort((a, b) => distance(a) - distance(b))
  if (chosen === undefined) throw new Error(`${env} has no packages`)
  for (const path of chosen.files) {
    const [at, next] = [join(env, path), join(env, `${path}.next`)]
    copyFileSync(at, next)
    appendFileSync(next, '\n# changed\n')
    renameSync(next, at)
  }
  return { ...chosen, bytes: bytesOf(chosen.files) }
}

/** How conda-deploy is started again, by root for a user or on another node. */
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { EnvError } from '../errors.js'

/** Node and the command line that lies beside this library, by their whole paths. Throws IO. */
export function ownCommand(): readonly [string, string] {
  const here = import.meta.url
  const file = fileURLToPath(new URL(here.endsWith('.ts') ? '../../dist/conda-deploy.cjs' : './conda-deploy.cjs', here))
  if (existsSync(file)) return [process.execPath, file]
  throw new EnvError('IO', `the command line is missing: there is no ${file}`, { path: file })
}

/** The `.pyc` of noarch packages, made by the environment's own python. */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { EnvError } from '../errors.js'
import type { LinkPlan } from './link.js'
import type { Request } from './request.js'

/**
 * Compiles in the stage, as conda does it, and answers with how many. Files that do not compile stay as they are. `beside`: the environment
 * that has the rest of what python needs, or python itself.
 */
export async function compilePython(
  stage: string,
  beside: string | null,
  plan: Pick<LinkPlan, 'compile' | 'python'>,
  { threads, signal, warn }: Pick<Request, 'threads' | 'signal' | 'warn'>,
): Promise<number> {
  if (plan.compile.length === 0 || plan.python === null) return 0
  const list = `${stage}.compile`
  const program = join('bin', `python${plan.python}`)
  const python = beside === null || existsSync(join(stage, program)) ? join(stage, program) : join(beside, program)
  // Nothing that is installed in its site-packages is run.
  const args = ['-I', '-S', '-Wi', '-m', 'compileall', '-q', '-l', '-i', list, '-j', String(threads)]
  try {
    await writeFile(list, plan.compile.map((path) => `${path}\n`).join(''), { flag: 'wx' })
    await new Promise<void>((done, failed) => {
      const plain = { PATH: '/usr/bin:/bin', HOME: '/nonexistent', LANG: 'C.UTF-8' }
      const env = beside === null ? plain : { ...plain, LD_LIBRARY_PATH: join(beside, 'lib') }
      const child = spawn(python, args, {
        cwd: stage,
        env,
        stdio: 'ignore',
        ...(signal === undefined ? {} : { signal }),
      })
      child.on('error', failed)
      // Its status says that some file has code of another Python: that is so in many packages, and no fault.
      child.on('close', (_, killed) => (killed === null ? done() : failed(new Error(`ended by ${killed}`))))
    })
    return plan.compile.length
  } catch (error) {
    if (signal?.aborted) throw new EnvError('CANCELLED', 'cancelled', { cause: signal.reason })
    warn(`Python files are not compiled: ${(error as Error).message}`)
    return 0
  } finally {
    await rm(list, { force: true })
  }
}

/**
 * Activating and deactivating as steps, the same for whoever takes them: shell-code.ts prints them for a shell to run, recorded.ts
 * applies them to an environment. Nothing here depends on a shell.
 */
import { join } from 'node:path'
import { EnvError } from '../errors.js'
import { type Activation, assignments, isName, keptAs, levelOf, listOf, type Scripts, scriptsIn } from './activation.js'
import type { Variables } from './find.js'

export type Step =
  | { readonly is: 'set'; readonly name: string; readonly value: string }
  | { readonly is: 'unset'; readonly name: string }
  /** The folder becomes the first of PATH, or is taken out of it. */
  | { readonly is: 'enter' | 'leave'; readonly folder: string }
  | { readonly is: 'source'; readonly scripts: Scripts }
  /** What a prompt begins with, from this level on, or no longer. */
  | { readonly is: 'prompt'; readonly add: boolean; readonly text: string; readonly level: number }
  /** Gives the shell its `deactivate`; `byFiles`: by those of the environment, which need no conda-deploy. */
  | { readonly is: 'define'; readonly byFiles: boolean }

/** `touched`: see `assignments`. */
export function activating(activation: Activation, now: Variables, touched: readonly string[] = []): readonly Step[] {
  const { prefix, prompt, scripts, deactivates } = activation
  const { set, again, below } = assignments(activation, now, touched)
  return [
    ...set.map(([name, value]): Step => ({ is: 'set', name, value })),
    { is: 'enter', folder: `${prefix}/bin` },
    ...(again ? [] : [{ is: 'prompt', add: true, text: prompt, level: below + 1 } as const]),
    // The files of an environment cannot tell whether the one beneath has such files too.
    { is: 'define', byFiles: deactivates && below === 0 },
    { is: 'source', scripts },
  ]
}

export interface Deactivation {
  /** The environment that is left. */
  readonly prefix: string
  readonly steps: readonly Step[]
}

/**
 * What leaves the environment that was activated last by conda-deploy, or by its bin/activate. Throws ENV_NOT_FOUND when there is none;
 * IO and PERMISSION for its etc/conda/deactivate.d.
 */
export async function deactivating(now: Variables): Promise<Deactivation> {
  const level = levelOf(now)
  const prefix = now['CONDA_PREFIX'] ?? ''
  const listed = now[listOf(level)]
  if (prefix === '' || listed === undefined) throw nothingActive(prefix)
  const { sh, fish, csh } = await scriptsIn(join(prefix, 'etc/conda/deactivate.d'))
  const names = listed.split(' ').filter(isName).reverse()
  const back = names.flatMap((name): Step[] => {
    const kept = keptAs(name, level - 1)
    const value = now[kept]
    return value === undefined
      ? [{ is: 'unset', name }]
      : [
          { is: 'set', name, value },
          { is: 'unset', name: kept },
        ]
  })
  const steps: Step[] = [
    { is: 'source', scripts: { sh: sh.toReversed(), fish: fish.toReversed(), csh: csh.toReversed() } },
    { is: 'prompt', add: false, text: now['CONDA_PROMPT_MODIFIER'] ?? '', level },
    { is: 'leave', folder: `${prefix}/bin` },
    ...back,
    { is: 'unset', name: listOf(level) },
    { is: 'unset', name: `CONDA_STACKED_${level}` },
  ]
  return { prefix, steps }
}

function nothingActive(prefix: string): EnvError {
  if (prefix === '') {
    const hint = 'activate one with conda-deploy activate PREFIX'
    return new EnvError('ENV_NOT_FOUND', 'no environment is active (CONDA_PREFIX is not set)', { hint })
  }
  const message = `${prefix} was not activated by conda-deploy: what was there before is not known`
  return new EnvError('ENV_NOT_FOUND', message, { path: prefix, hint: 'leave it as it was entered: conda deactivate' })
}

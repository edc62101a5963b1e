/** Who can take an activation, by name: a file of its own, because it is asked before anything is activated. */

/** Shells that are told what to do; they source the scripts of their own family. */
export type Shell = 'bash' | 'zsh' | 'sh' | 'ksh' | 'dash' | 'fish' | 'tcsh' | 'csh'
export const shells: readonly Shell[] = ['bash', 'zsh', 'sh', 'ksh', 'dash', 'fish', 'tcsh', 'csh']

/** Those that are no shell cannot source scripts: they get what the scripts do, recorded. */
export type Taker = Shell | 'json' | 'slurm'
export const takers: readonly Taker[] = [...shells, 'json', 'slurm']

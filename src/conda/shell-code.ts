/** An activation as code for a shell to `eval`, or as JSON. Every value is quoted; nothing in it is expanded. Pure. */
import { type Activation, type Assignments, assignments, pathWith } from './activation.js'
import type { Variables } from './find.js'

export type Shell = 'bash' | 'zsh' | 'sh' | 'ksh' | 'dash' | 'fish' | 'tcsh' | 'csh' | 'json'
export const shells: readonly Shell[] = ['bash', 'zsh', 'sh', 'ksh', 'dash', 'fish', 'tcsh', 'csh', 'json']

/**
 * Code which activates, for a shell whose exported variables are `now`: `eval "$(…)"`, in fish `… | source`, in tcsh ``eval "`…`"``.
 * The environment's scripts of activate.d are sourced by that shell. Afterwards `deactivate` goes back, if the prefix can.
 */
export function shellCode(activation: Activation, shell: Shell, now: Variables = process.env): string {
  const todo = assignments(activation, now)
  if (shell === 'json') return json(activation, todo, now)
  const lines =
    shell === 'fish' ? fish(activation, todo) : /csh$/.test(shell) ? csh(activation, todo) : posix(activation, todo)
  return `${lines.join('\n')}\n`
}

function json(activation: Activation, todo: Assignments, now: Variables): string {
  const variables = { ...Object.fromEntries(todo.set), PATH: pathWith(activation, now['PATH']) }
  return `${JSON.stringify({ prefix: activation.prefix, variables, scripts: activation.scripts }, null, 2)}\n`
}

const single = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`

function posix({ prefix, scripts, deactivates }: Activation, { set, again }: Assignments): string[] {
  const bin = single(`${prefix}/bin`)
  const lines = set.map(([name, value]) => `export ${name}=${single(value)}`)
  lines.push(`case "\${PATH-}:" in ${bin}:*) ;; *) export PATH=${bin}"\${PATH:+:$PATH}" ;; esac`)
  if (!again) lines.push(`case $- in *i*) PS1="$CONDA_PROMPT_MODIFIER\${PS1-}" ;; esac`)
  if (deactivates) lines.push('deactivate() { . "$CONDA_PREFIX/bin/deactivate"; }')
  if (scripts.sh.length > 0) {
    // They are written by others and may not bear `set -eu`.
    lines.push('__conda_deploy_flags=$-', 'set +eu', ...scripts.sh.map((file) => `. ${single(file)}`))
    lines.push('case $__conda_deploy_flags in *e*) set -e ;; esac')
    lines.push('case $__conda_deploy_flags in *u*) set -u ;; esac', 'unset __conda_deploy_flags')
  }
  return [...lines, 'hash -r 2>/dev/null || :']
}

const inFish = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`

function fish({ prefix, scripts, deactivates }: Activation, { set, again }: Assignments): string[] {
  const bin = inFish(`${prefix}/bin`)
  const lines = set.map(([name, value]) => `set -gx ${name} ${inFish(value)}`)
  lines.push(`test "$PATH[1]" = ${bin}; or set -gx PATH ${bin} $PATH`)
  if (deactivates) lines.push('function deactivate; source $CONDA_PREFIX/bin/deactivate.fish; end')
  if (!again)
    lines.push(
      'if status is-interactive; and functions -q fish_prompt; and not functions -q __conda_deploy_prompt',
      '  functions -c fish_prompt __conda_deploy_prompt',
      '  function fish_prompt; printf %s $CONDA_PROMPT_MODIFIER; __conda_deploy_prompt; end',
      'end',
    )
  return [...lines, ...scripts.fish.map((file) => `source ${inFish(file)}`)]
}

const inCsh = (text: string): string => single(text).replaceAll('!', '\\!')

function csh({ prefix, scripts, deactivates }: Activation, { set, again }: Assignments): string[] {
  const bin = inCsh(`${prefix}/bin`)
  const lines = set.map(([name, value]) =>
    // eval makes a blank of every line break.
    value.includes('\n')
      ? `sh -c 'echo "conda-deploy: ${name} has a line break: csh cannot set it by eval" >&2'`
      : `setenv ${name} ${inCsh(value)}`,
  )
  lines.push(`if ( "$path[1]:q" != ${bin} ) setenv PATH ${bin}":$PATH:q"`, 'rehash')
  if (deactivates) lines.push(`alias deactivate 'source "$CONDA_PREFIX:q/bin/deactivate.csh"'`)
  // Only eval keeps csh from looking at $prompt where there is none.
  if (!again) lines.push(`if ( $?prompt ) eval 'set prompt = "$CONDA_PROMPT_MODIFIER:q$prompt:q"'`)
  return [...lines, ...scripts.csh.map((file) => `source ${inCsh(file)}`)].map((line) => `${line};`)
}

/** Steps as code for a shell to `eval`. Every value is quoted; nothing in it is expanded. Pure. */
import type { Scripts } from './activation.js'
import type { Lacking } from './recorded.js'
import type { Step } from './steps.js'
import type { Shell } from './takers.js'

export interface Undoing {
  /** The program and first arguments that are conda-deploy; undefined: `deactivate` is defined only where the environment's files do it. */
  readonly command?: readonly string[] | undefined
}

/** Code for `eval "$(…)"`, in fish `… | source`, in tcsh ``eval "`…`"``. */
export function shellCode(steps: readonly Step[], shell: Shell, { command }: Undoing = {}): string {
  const family = familyOf(shell)
  const print = { posix, fish, csh }[family]
  const lines = steps.flatMap((step) =>
    print(step, command === undefined ? undefined : [...command, 'deactivate', '--shell', shell]),
  )
  const end = { posix: ['hash -r 2>/dev/null || :'], fish: ['true'], csh: ['rehash;'] }[family]
  return `${[...lines, ...end].join('\n')}\n`
}

type Family = 'posix' | 'fish' | 'csh'
const familyOf = (shell: Shell): Family => (shell === 'fish' ? 'fish' : /csh$/.test(shell) ? 'csh' : 'posix')

/** Scripts of POSIX shells that a package does not have for the shell too: what they do is recorded. */
export function lackedBy(shell: Shell): Lacking {
  const family = familyOf(shell)
  const bare = (script: string): string => script.slice(0, script.lastIndexOf('.'))
  return (scripts: Scripts) => {
    if (family === 'posix') return []
    const own = new Set(scripts[family].map(bare))
    return scripts.sh.filter((script) => !own.has(bare(script)))
  }
}

type Command = readonly string[] | undefined
const single = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`

/** Takes the folder out of PATH, where it stands first. */
const outOfPath = [
  'case ":$PATH:" in *":$__conda_deploy_folder:"*) __conda_deploy_path=":$PATH:"',
  `__conda_deploy_path=\${__conda_deploy_path%%":$__conda_deploy_folder:"*}:\${__conda_deploy_path#*":$__conda_deploy_folder:"}`,
  `__conda_deploy_path=\${__conda_deploy_path#:}`,
  `PATH=\${__conda_deploy_path%:} ;; esac`,
].join('; ')

function posix(step: Step, undo: Command): string[] {
  switch (step.is) {
    case 'set':
      return [`export ${step.name}=${single(step.value)}`]
    case 'unset':
      return [`unset ${step.name}`]
    case 'enter': {
      const folder = single(step.folder)
      return [`case "\${PATH-}:" in ${folder}:*) ;; *) export PATH=${folder}"\${PATH:+:$PATH}" ;; esac`]
    }
    case 'leave':
      return [
        `__conda_deploy_folder=${single(step.folder)}`,
        outOfPath,
        'unset __conda_deploy_folder __conda_deploy_path',
      ]
    case 'prompt': {
      const text = single(step.text)
      return [
        step.add
          ? `case $- in *i*) PS1=${text}"\${PS1-}" ;; esac`
          : `case $- in *i*) PS1=\${PS1-} && PS1=\${PS1#${text}} ;; esac`,
      ]
    }
    case 'define':
      if (step.byFiles) return ['deactivate() { . "$CONDA_PREFIX/bin/deactivate"; }']
      return undo === undefined ? [] : [`deactivate() { eval "$(${undo.map(single).join(' ')})"; }`]
    case 'source':
      if (step.scripts.sh.length === 0) return []
      // They are written by others and may not bear `set -eu`.
      return [
        '__conda_deploy_flags=$-',
        'set +eu',
        ...step.scripts.sh.map((file) => `. ${single(file)}`),
        'case $__conda_deploy_flags in *e*) set -e ;; esac',
        'case $__conda_deploy_flags in *u*) set -u ;; esac',
        'unset __conda_deploy_flags',
      ]
  }
}

const inFish = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`

function fish(step: Step, undo: Command): string[] {
  switch (step.is) {
    case 'set':
      return [`set -gx ${step.name} ${inFish(step.value)}`]
    case 'unset':
      return [`set -e ${step.name}`]
    case 'enter':
      return [`test "$PATH[1]" = ${inFish(step.folder)}; or set -gx PATH ${inFish(step.folder)} $PATH`]
    case 'leave':
      return [`if set -l at (contains -i -- ${inFish(step.folder)} $PATH)`, '  set -e PATH[$at]', 'end']
    case 'prompt':
      return step.add
        ? [
            'if status is-interactive; and functions -q fish_prompt; and not functions -q __conda_deploy_prompt',
            '  functions -c fish_prompt __conda_deploy_prompt',
            '  function fish_prompt; printf %s $CONDA_PROMPT_MODIFIER; __conda_deploy_prompt; end',
            'end',
          ]
        : step.level > 1
          ? []
          : [
              'if functions -q __conda_deploy_prompt',
              '  functions -e fish_prompt',
              '  functions -c __conda_deploy_prompt fish_prompt',
              '  functions -e __conda_deploy_prompt',
              'end',
            ]
    case 'define':
      if (step.byFiles) return ['function deactivate; source $CONDA_PREFIX/bin/deactivate.fish; end']
      return undo === undefined ? [] : [`function deactivate; ${undo.map(inFish).join(' ')} | source; end`]
    case 'source':
      return step.scripts.fish.map((file) => `source ${inFish(file)}`)
  }
}

const inCsh = (text: string): string => single(text).replaceAll('!', '\\!')

/** The prompt as it was before this level, where bin/deactivate.csh looks for it too. */
const promptOf = (level: number): string => `__conda_deploy_prompt_${level}`

/** sh does what csh cannot do safely; code and folder reach it by the environment, because csh would expand them. */
const tellPath = `${outOfPath}; printf "%s\\n" "$PATH"`

function csh(step: Step, undo: Command): string[] {
  return cshLines(step, undo).map((line) => `${line};`)
}

function cshLines(step: Step, undo: Command): string[] {
  switch (step.is) {
    case 'set':
      // eval makes a blank of every line break.
      return step.value.includes('\n')
        ? [`sh -c 'echo "conda-deploy: ${step.name} has a line break: csh cannot set it by eval" >&2'`]
        : [`setenv ${step.name} ${inCsh(step.value)}`]
    case 'unset':
      return [`unsetenv ${step.name}`]
    case 'enter':
      return [`if ( "$path[1]:q" != ${inCsh(step.folder)} ) setenv PATH ${inCsh(step.folder)}":$PATH:q"`]
    case 'leave':
      return [
        `setenv __conda_deploy_folder ${inCsh(step.folder)}`,
        `setenv CONDA_DEPLOY_CODE ${inCsh(tellPath)}`,
        'setenv PATH "`printenv CONDA_DEPLOY_CODE | sh`"',
        'unsetenv CONDA_DEPLOY_CODE __conda_deploy_folder',
      ]
    case 'prompt': {
      const kept = promptOf(step.level)
      // Only eval keeps csh from looking at a variable where there is none.
      return step.add
        ? [
            `if ( $?prompt ) eval 'set ${kept} = "$prompt:q"'`,
            `if ( $?prompt ) eval 'set prompt = "$CONDA_PROMPT_MODIFIER:q$prompt:q"'`,
          ]
        : [`if ( $?prompt && $?${kept} ) eval 'set prompt = "$${kept}:q"'`, `unset ${kept}`]
    }
    case 'define':
      if (step.byFiles) return [`alias deactivate 'source "$CONDA_PREFIX:q/bin/deactivate.csh"'`]
      return undo === undefined ? [] : [`alias deactivate ${inCsh(`eval "\`${undo.map(inCsh).join(' ')}\`"`)}`]
    case 'source':
      return step.scripts.csh.map((file) => `source ${inCsh(file)}`)
  }
}

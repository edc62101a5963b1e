/** `conda-deploy activate` and `deactivate`: any environment, for any shell, by what `eval` gets to read. */
import { realpathSync } from 'node:fs'
import { type Command, Option } from 'commander'
import type { Spare } from '../../conda/spare.js'
import type { Told } from '../../conda/taker.js'
import { type Taker, takers } from '../../conda/takers.js'
import { addSpare, example, type Globals, type Session, type SpareFlags } from '../common.js'
import { callingShell, takerNamed } from '../shell.js'

interface Flags extends Globals {
  readonly shell?: Taker | typeof callingShell
}

export const shellOption = (help: string): Option =>
  new Option('--shell [name]', help).choices([callingShell, ...takers])

const shellHelp = 'for which shell, or json, or slurm (a task prolog); default: the shell that calls'

export function addActivate(program: Command, session: Session): void {
  const command = program
    .command('activate')
    .summary('print what a shell needs to activate an environment')
    .description(
      'Print what a shell evaluates to activate an environment: one that was deployed, or any other that stands somewhere. ' +
        'In fish: ... | source. Afterwards deactivate goes back.',
    )
    .argument('<prefix>', 'path of the environment, or its name (a word without a slash)')
    .addOption(shellOption(shellHelp))
  addSpare(command)
  example(command, 'eval "$(conda-deploy activate /scratch/myenv --shell bash)"')
  command.action(async (wanted: string, _: unknown, self: Command) => {
    const flags = self.optsWithGlobals<Flags & SpareFlags>()
    const { findPrefix } = await import('../../conda/find.js')
    // As conda takes it.
    const prefix = findPrefix(/\/|^\.\.?$/.test(wanted) ? { prefix: wanted } : { name: wanted })
    tell(await activationOf(prefix, takerOf(flags), flags.spare ?? [], session.signal), session)
  })
}

export function addDeactivate(program: Command, session: Session): void {
  const command = program
    .command('deactivate')
    .summary('print what a shell needs to leave the environment it activated last')
    .description(
      'Print what a shell evaluates to leave the environment that conda-deploy, or its bin/activate, activated last. ' +
        'In fish: ... | source.',
    )
    .addOption(shellOption(shellHelp))
  example(command, 'eval "$(conda-deploy deactivate --shell bash)"')
  command.action(async (_: unknown, self: Command) => {
    const flags = self.optsWithGlobals<Flags>()
    const { tellDeactivating } = await import('../../conda/taker.js')
    tell(await tellDeactivating(takerOf(flags), { signal: session.signal }), session)
  })
}

const takerOf = ({ shell, json }: Flags): Taker => (json ? 'json' : takerNamed(shell ?? callingShell))

function tell({ text, warnings }: Told, { terminal }: Session): void {
  for (const warning of warnings) terminal.warn(warning)
  terminal.close()
  terminal.print(text)
}

/** What activates `prefix`, with the settings that were asked for. */
export async function activationOf(
  prefix: string,
  taker: Taker,
  spare: readonly Spare[],
  signal: AbortSignal,
): Promise<Told> {
  const { readActivation } = await import('../../conda/activation.js')
  const { sparing } = await import('../../conda/spare.js')
  const { tellActivating } = await import('../../conda/taker.js')
  const activation = await sparing(await readActivation(prefix), spare)
  return await tellActivating(activation, taker, { command: ownCommand(), signal })
}

/** By its path: in the environment that is active then, PATH may lead elsewhere. */
function ownCommand(): string[] {
  const script = process.argv[1]
  return script === undefined ? [process.execPath] : [process.execPath, realpathSync(script)]
}

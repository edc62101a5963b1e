/** `conda-deploy envs`: the environments there are, as `conda env list` prints them. */
import type { Command } from 'commander'
import type { EnvsResult } from '../../install/envs.js'
import { example, type Globals, type Session } from '../common.js'
import { bytes, printable } from '../text.js'

interface Flags extends Globals {
  readonly size?: boolean
}

export function addEnvs(program: Command, session: Session): void {
  const command = program
    .command('envs')
    .summary('list the environments there are')
    .description('List the environments there are: those of environments.txt and those in the folders of environments.')
    .option('--size', 'bytes of each: all their files are looked at')
  example(command, 'conda-deploy envs --json')
  command.action(async (_: unknown, self: Command) => {
    const { size, threads } = self.optsWithGlobals<Flags>()
    const { envs } = await import('../../install/envs.js')
    const result = await envs({ size, threads, signal: session.signal })
    session.terminal.result(condaForm(result), table(result))
  })
}

/** As `conda env list --json` has it. */
function condaForm({ environments }: EnvsResult): object {
  const details = environments.map(({ prefix, created, lastModified, size, ...flags }) => [
    prefix,
    { ...flags, created, last_modified: lastModified, ...(size === null ? {} : { size }) },
  ])
  return { envs: environments.map(({ prefix }) => prefix), envs_details: Object.fromEntries(details) as object }
}

function table({ environments }: EnvsResult): string {
  const rows = environments.map(({ name, active, frozen, size, prefix }) => {
    const marks = `${name.padEnd(20)} ${active ? '*' : ' '} ${frozen ? '+' : ' '}`
    return printable(size === null ? `${marks} ${prefix}` : `${marks} ${bytes(size).padStart(10)} ${prefix}`)
  })
  return ['# conda environments:', '#', '# * -> active', '# + -> frozen', ...rows, ''].join('\n')
}

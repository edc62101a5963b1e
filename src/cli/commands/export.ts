/** `conda-deploy export`: an environment as environment.yml, an explicit list or a lock file. */
import { stat, writeFile } from 'node:fs/promises'
import { basename } from 'node:path'
import type { Command } from 'commander'
import { fromSystem } from '../../errors.js'
import type { ExportFormat } from '../../install/export.js'
import { replaceFile } from '../../tree/replace-file.js'
import { example, type Globals, type Session, several } from '../common.js'

interface Flags extends Globals {
  readonly name?: string
  readonly prefix?: string
  readonly channel?: readonly string[]
  readonly overrideChannels?: boolean
  readonly ignoreChannels?: boolean
  readonly fromHistory?: boolean
  readonly builds: boolean
  readonly format?: string
  readonly file?: string
}

/** Other names of formats, as conda has them. */
const aliases: Readonly<Record<string, ExportFormat>> = {
  ...{ yaml: 'environment-yaml', yml: 'environment-yaml', 'env.yml': 'environment-yaml', json: 'environment-json' },
  'conda-lock': 'conda-lock-v1',
}

export function addExport(program: Command, session: Session): void {
  const command = program
    .command('export')
    .summary('write down an environment, to make it again')
    .description(
      'Print an environment as environment.yml (the default), as an explicit list of addresses, or as a lock file of conda-lock; create --file ' +
        'takes all of them. Records are read; neither conda nor Python is run.',
    )
    .option('-n, --name <env>', 'name of the environment (default: the active one)')
    .option('-p, --prefix <path>', 'path of the environment')
    .option('--format <format>', 'environment-yaml, environment-json, explicit or conda-lock-v1 (default: by --file)')
    .option('-f, --file <file>', 'write it there, replacing what is there (default: stdout)')
    .option('--from-history', 'only what was asked for, as it was asked for')
    .option('--no-builds', 'versions without builds')
    .option('-c, --channel <channel>', 'a channel to name too; may be repeated', several)
    .option('-O, --override-channels', 'without the channels of .condarc')
    .option('--ignore-channels', 'without the channels that packages are from')
  example(command, 'conda-deploy export -n myenv > environment.yml', 'conda-deploy export -n myenv -f conda-lock.yml')
  command.action(async (_: unknown, self: Command) => {
    const flags = self.optsWithGlobals<Flags>()
    const { name, prefix, channel, fromHistory, builds, overrideChannels, ignoreChannels, file, json } = flags
    const { exportEnvironment } = await import('../../install/export.js')
    const { terminal } = session
    const plain = json && file === undefined ? 'environment-json' : byName(file)
    const format = flags.format === undefined ? plain : (aliases[flags.format] ?? flags.format)
    const result = await exportEnvironment({
      ...{ name, prefix, format, fromHistory, noBuilds: !builds, channels: channel, overrideChannels, ignoreChannels },
    })
    for (const warning of result.warnings) terminal.warn(warning)
    if (file === undefined) return terminal.print(result.text)
    await write(file, result.text)
    const told = { success: true, file, format: result.format, warnings: result.warnings }
    terminal.result(told, '')
    terminal.say(`wrote ${file}`)
  })
}

/** As a whole; into what is no file (`/dev/stdout`, a pipe) as it is. */
async function write(file: string, text: string): Promise<void> {
  const there = await stat(file).catch(() => null)
  if (there === null || there.isFile()) return await replaceFile(file, text)
  await writeFile(file, text).catch((error: unknown) => {
    throw fromSystem(error, 'cannot write', file)
  })
}

function byName(file: string | undefined): ExportFormat {
  const name = basename(file ?? '')
  if (/lock\.ya?ml$/.test(name)) return 'conda-lock-v1'
  if (name.endsWith('.txt')) return 'explicit'
  return name.endsWith('.json') ? 'environment-json' : 'environment-yaml'
}

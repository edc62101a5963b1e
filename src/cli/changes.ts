/** What the commands share that install packages: their flags, and how their results are told. */
import type { Command } from 'commander'
import type { CreateOptions } from '../install/create.js'
import type { RequestOptions } from '../install/request.js'
import type { ChangeResult } from '../install/transaction.js'
import { type Globals, several } from './common.js'
import type { Terminal } from './terminal.js'
import { aligned, bytes, count, counted, duration } from './text.js'

export interface ChannelFlags extends Globals {
  readonly name?: string
  readonly prefix?: string
  readonly channel?: readonly string[]
  readonly overrideChannels?: boolean
  readonly file?: readonly string[]
  readonly token?: readonly string[]
  readonly excludeNewer?: string
  readonly offline?: boolean
  readonly copy?: boolean
  readonly runLinkScripts?: boolean
  readonly dryRun?: boolean
}

/** Which environment; `-p` and `-n` as everywhere. */
export const addEnvironment = (command: Command, otherwise = ' (default: the active one)'): Command =>
  command
    .option('-n, --name <env>', `name of the environment${otherwise}`)
    .option('-p, --prefix <path>', 'path of the environment')

/** Where packages come from, and how. */
export function addChannels(command: Command): Command {
  return command
    .option('-c, --channel <channel>', 'a channel: name, path or URL; may be repeated, first to last', several)
    .option('--override-channels', 'no channels but those of --channel')
    .option(
      '-f, --file <file>',
      'environment.yml, conda-lock.yml, a list of specs, or an explicit list; may be repeated',
      several,
    )
    .option('--token <token>', 'of the channels: TOKEN or HOST=TOKEN; better in CONDA_TOKEN; may be repeated', several)
    .option('--exclude-newer <when>', 'no packages published later: 2026-04-01, 2026-04-01T12:00:00Z, 7d')
    .option('--offline', 'download nothing: caches, and channels on disk')
    .option('--copy', 'copy files, instead of clones or hard links of those in the cache')
    .option('--run-link-scripts', 'run scripts of packages that act when they are linked; else they are named')
}

export const addYes = (command: Command): Command =>
  command.option('-y, --yes', 'for lines written for conda: nothing is ever asked')

/** The flags as the verbs have them. */
export function requested(flags: ChannelFlags): RequestOptions & Pick<CreateOptions, 'name' | 'prefix'> {
  const { name, prefix, channel, file, token, overrideChannels, excludeNewer, offline, copy, dryRun, threads } = flags
  const { runLinkScripts: linkScripts } = flags
  return {
    ...{ name, prefix, channels: channel, files: file, tokens: token, overrideChannels, excludeNewer },
    ...{ offline, copy, linkScripts, dryRun, threads },
  }
}

/** For the history: the line as it was typed, without tokens. */
export function commandLine(): string {
  const words = process.argv.slice(2)
  const shown = words.map((word, i) =>
    words[i - 1] === '--token' ? '<TOKEN>' : word.replace(/^(--token=).*/s, '$1<TOKEN>'),
  )
  return ['conda-deploy', ...shown].join(' ')
}

/** Prints `-` and `+` lines as the history has them, and a summary. */
export function tellChange(terminal: Terminal, result: ChangeResult, dryRun: boolean): void {
  const line = (sign: string, { name, version, build, channel, subdir }: ChangeResult['added'][number]): string =>
    `${sign} ${name} ${version} ${build} ${channel}/${subdir}`
  const lines = [
    ...result.removed.map((one) => line('-', one)),
    ...result.added.map((one) => line('+', one)),
    ...result.relinked.map((one) => line('~', one)),
  ]
  terminal.result(result, lines.join('\n'))
  const { installed, prefix, seconds } = result
  if (installed === null) {
    if (lines.length === 0) terminal.say('nothing to do: all of it is so already')
    else if (dryRun) terminal.say(`${prefix} would change so; nothing was done`)
    return
  }
  const took = Object.entries(seconds).filter(([phase, time]) => phase !== 'total' && time >= 0.001)
  terminal.say(
    aligned([
      ['environment', prefix],
      ['downloaded', `${counted(installed.downloaded, 'package')}, ${bytes(installed.downloadedBytes)}`],
      [
        'files',
        `${count(installed.cloned)} cloned, ${count(installed.linked)} linked, ${count(installed.copied)} copied, ` +
          `${count(installed.rewritten)} rewritten, ${count(installed.compiled)} compiled; ${counted(installed.steps, 'name')} changed`,
      ],
      ['took', `${duration(seconds.total)}: ${took.map(([phase, time]) => `${phase} ${duration(time)}`).join(', ')}`],
    ]),
  )
}

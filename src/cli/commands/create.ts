/** `conda-deploy create`: a new environment from packages, by the options of conda. */
import type { Command } from 'commander'
import type { CreateResult } from '../../install/create.js'
import { addChannels, addEnvironment, addYes, type ChannelFlags, commandLine, requested } from '../changes.js'
import { example, type Session } from '../common.js'
import { aligned, bytes, count, counted, duration } from '../text.js'

export function addCreate(program: Command, session: Session): void {
  const command = program
    .command('create')
    .summary('make an environment from packages')
    .description(
      'Make a new environment from conda packages, without conda: solve, download, unpack, link. Prints its path. ' +
        'Channels, package caches and folders of environments are those of .condarc.',
    )
    .argument('[specs...]', "packages, e.g. numpy, python=3.11, 'scipy>=1.10,<2', conda-forge::zlib")
  addChannels(addEnvironment(command, '')).option('-d, --dry-run', 'solve and print what would be installed')
  addYes(command)
  example(
    command,
    'conda-deploy create -n myenv -c conda-forge python=3.11 numpy',
    'conda-deploy create -p ./env --file environment.yml',
  )
  command.action(async (specs: readonly string[], _: unknown, self: Command) => {
    const { terminal } = session
    const { create } = await import('../../install/create.js')
    const result = await create({
      ...requested(self.optsWithGlobals<ChannelFlags>()),
      specs,
      command: commandLine(),
      signal: session.signal,
      reporter: terminal,
    })
    if (result.installed === null) terminal.result(result, listing(result))
    else terminal.result(result, result.prefix)
    terminal.say(summary(result))
  })
}

/** As `conda list` has it. */
const listing = ({ packages }: CreateResult): string =>
  packages.map(({ name, version, build, channel }) => `${name} ${version} ${build} ${channel}`).join('\n')

function summary(result: CreateResult): string {
  const { prefix, packages, installed, seconds } = result
  const total = packages.reduce((sum, { size }) => sum + (size ?? 0), 0)
  const took = Object.entries(seconds).filter(([phase, time]) => phase !== 'total' && time >= 0.001)
  return aligned([
    ['environment', prefix],
    ['packages', `${counted(packages.length, 'package')}, ${bytes(total)}`],
    [
      'downloaded',
      installed === null
        ? undefined
        : `${counted(installed.downloaded, 'package')}, ${bytes(installed.downloadedBytes)}`,
    ],
    [
      'files',
      installed === null
        ? undefined
        : `${count(installed.files)}: ${count(installed.cloned)} cloned, ${count(installed.linked)} linked, ` +
          `${count(installed.copied)} copied, ${count(installed.rewritten)} rewritten, ${count(installed.compiled)} compiled`,
    ],
    ['pip', result.pip.flatMap((one) => one.packages).join(', ') || undefined],
    ['took', `${duration(seconds.total)}: ${took.map(([phase, time]) => `${phase} ${duration(time)}`).join(', ')}`],
  ])
}

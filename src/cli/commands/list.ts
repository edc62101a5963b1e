/** `conda-deploy list`: the packages of an environment, in the forms of `conda list`. */
import type { Command } from 'commander'
import type { ListResult } from '../../install/list.js'
import type { ListedPackage } from '../../install/listed.js'
import { version } from '../../version.js'
import { example, type Globals, type Session } from '../common.js'
import { printable } from '../text.js'

interface Flags extends Globals {
  readonly name?: string
  readonly prefix?: string
  readonly fullName?: boolean
  readonly reverse?: boolean
  readonly canonical?: boolean
  readonly explicit?: boolean
  readonly md5?: boolean
  readonly sha256?: boolean
  readonly export?: boolean
  readonly revisions?: boolean
  readonly pip: boolean
}

export function addList(program: Command, session: Session): void {
  const command = program
    .command('list')
    .summary('list the packages of an environment')
    .description(
      'List the packages of an environment, those of pip too, in the forms of conda list. Records are read; neither conda nor Python is run.',
    )
    .argument('[regex]', 'only packages whose names it is found in')
    .option('-n, --name <env>', 'name of the environment (default: the active one)')
    .option('-p, --prefix <path>', 'path of the environment')
    .option('-f, --full-name', 'the argument is a whole name')
    .option('--reverse', 'in reverse order')
    .option('-c, --canonical', 'channel/subdir::name-version-build')
    .option('-e, --export', 'name=version=build, as create takes them')
    .option('--explicit', 'addresses of the packages, as create --file takes them')
    .option('--md5', 'with --explicit: add the MD5 of each')
    .option('--sha256', 'with --explicit: add the SHA-256 of each')
    .option('-r, --revisions', 'what was installed and removed when')
    .option('--no-pip', 'without packages of pip')
  example(command, 'conda-deploy list -n myenv ^py', 'conda-deploy list -n myenv --explicit --sha256 > myenv.txt')
  command.action(async (regex: string | undefined, _: unknown, self: Command) => {
    const flags = self.optsWithGlobals<Flags>()
    const { name, prefix, fullName, pip } = flags
    const { list, revisions } = await import('../../install/list.js')
    const { terminal } = session
    if (flags.md5 && flags.sha256) self.error('error: only one of --md5 and --sha256 can be given')
    if (flags.revisions) {
      const found = await revisions({ name, prefix })
      return terminal.result(found.revisions, found.text)
    }
    const result = await list({ name, prefix, regex, fullName, pip })
    const packages = flags.reverse ? result.packages.toReversed() : result.packages
    const { explicitLines, listHead } = await import('../../install/listed.js')
    const head = listHead(result.platform, `conda-deploy ${version}`)
    if (flags.explicit) {
      const hash = flags.md5 ? 'md5' : flags.sha256 ? 'sha256' : null
      const all = explicitLines(result.recorded, hash)
      return terminal.result(all, [...head, '@EXPLICIT', ...all].join('\n'))
    }
    const value = packages.map(condaForm)
    if (flags.canonical) return terminal.result(value, packages.map(canonical).join('\n'))
    if (flags.export) return terminal.result(value, [...head, ...packages.map(spec)].join('\n'))
    terminal.result(value, table(result, packages))
  })
}

/** `dist_fields_dump` of conda. */
const condaForm = ({ channelUrl, buildNumber, build, channelName, dist, name, subdir, version }: ListedPackage) => ({
  base_url: channelUrl,
  build_number: buildNumber,
  build_string: build,
  channel: channelName,
  dist_name: dist,
  ...{ name, platform: subdir, version },
})

const spec = ({ name, version, build }: ListedPackage): string => `${name}=${version}=${build}`

const canonical = ({ channel, subdir, dist }: ListedPackage): string => `${channel}/${subdir}::${dist}`

/** Widths as conda has them, wider where a name is longer. */
function table({ prefix }: ListResult, packages: readonly ListedPackage[]): string {
  const rows = packages.map(({ name, version, build, channel }) => [
    ...[name, version, build],
    // conda does not name the channel that it takes for granted.
    channel === 'defaults' ? '' : channel,
  ])
  const widths = [23, 15, 15, 1].map((least, i) => Math.max(least, ...rows.map((row) => row[i]?.length ?? 0)))
  const line = (cells: readonly string[], first: number): string =>
    cells
      .map((cell, i) => cell.padEnd((widths[i] ?? 0) + (i === 0 ? first : 0)))
      .join('  ')
      .trimEnd()
  const shown = (row: readonly string[]): string => printable(line(row, 2))
  return [
    `# packages in environment at ${prefix}:`,
    '#',
    `# ${line(['Name', 'Version', 'Build', 'Channel'], 0)}`,
    ...rows.map(shown),
  ].join('\n')
}

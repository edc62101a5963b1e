/** `conda-deploy inspect ARCHIVE`: what is inside, where it can go, and what will not relocate. */
import type { Command } from 'commander'
import type { InspectResult } from '../../deploy/inspect.js'
import { example, type Globals, type Session } from '../common.js'
import { aligned, bytes, count, counted, firstOf, printable } from '../text.js'

interface Flags extends Globals {
  readonly to?: string
}

/** Lines of a list that are shown; --verbose and --json have all. */
const shown = 10

export function addInspect(program: Command, session: Session): void {
  const command = program
    .command('inspect')
    .summary('say what is in an archive')
    .description('Say what is in an archive, the longest prefix it can take, and what will not relocate.')
    .argument('<archive>', 'an archive of conda-deploy')
    .option('--to <dir>', 'a prefix: would the environment fit there?')
  example(command, 'conda-deploy inspect /shared/myenv.tar.zst --to /scratch/myenv')
  command.action(async (archive: string, _: unknown, self: Command) => {
    const { to, verbose } = self.optsWithGlobals<Flags>()
    const { inspect } = await import('../../deploy/inspect.js')
    const result = await inspect(archive, { to })
    session.terminal.result(result, report(result, verbose === true ? Number.POSITIVE_INFINITY : shown))
  })
}

function report(result: InspectResult, most: number): string {
  return [table(result), ...sections(result, most)].join('\n\n')
}

function table(result: InspectResult): string {
  const { counts, fit } = result
  const kinds = [
    counted(result.directories, 'directory', 'directories'),
    counted(result.symlinks, 'symlink'),
    counted(result.hardlinks, 'hardlink'),
  ]
  return aligned([
    ['archive', `${result.archive} (version ${result.version}, by ${result.producer ?? 'an unknown program'})`],
    ['digest', result.digest],
    ['environment', `${result.name ?? 'unnamed'} (${result.platform ?? 'unknown platform'}), ${environment(result)}`],
    ['files', `${count(result.files)}, ${bytes(result.bytes)}; ${kinds.join(', ')}`],
    ['packed', `${bytes(result.packedBytes)} in ${counted(result.frames, 'frame')}`],
    ['relocated', `${counted(result.rewritten, 'file')} in ${counted(result.spots, 'place')}`],
    ['from', prefixes(result)],
    ['to', result.longestPrefix === null ? 'any prefix' : `prefixes of at most ${result.longestPrefix} bytes`],
    ['fits', fit === undefined ? undefined : `${fit.fits ? 'yes' : 'no'}, ${fit.prefix}`],
    [
      'known',
      counts === null
        ? undefined
        : `${count(counts.proven)} proven, ${count(counts.installed)} as installed, ${count(counts.modified)} modified, ` +
          `${count(counts.unhashed)} without a hash, ${count(counts.unmanaged)} unmanaged`,
    ],
  ])
}

/** The source's own, and how many placeholders of its packages: they all look alike. */
function prefixes({ prefixes: all }: InspectResult): string {
  const placeholders = all.filter((prefix) => prefix.includes('_placehold'))
  const own = all.filter((prefix) => !prefix.includes('_placehold'))
  return [...own, ...(placeholders.length > 0 ? [counted(placeholders.length, 'placeholder')] : [])].join(', ')
}

const environment = ({ packages, python }: InspectResult): string =>
  `${counted(packages, 'package')}${python === null ? '' : `, python ${python}`}`

function sections(result: InspectResult, most: number): string[] {
  const { cut, fit } = result
  const section = (title: string, lines: readonly string[], total: number = lines.length): string[] =>
    lines.length === 0 ? [] : [`${title} (${count(total)}):\n${indented(firstOf(lines, most))}`]
  const kept = (files: InspectResult['kept']): string[] =>
    [...files].sort(compiledLast).map((file) => `${file.path} (${counted(file.count, 'place')})`)
  const limits = (files: InspectResult['limits']): string[] => files.map((file) => `${file.path} (${file.slot} bytes)`)
  return [
    ...section('Does not fit there', fit === undefined ? [] : limits(fit.tooLong)),
    ...section('Keep the prefix they were packed from', kept(result.kept), cut.kept),
    ...section('Keep a placeholder of their build', kept(result.placeholders), cut.placeholders),
    ...section(
      'Links that lead outside',
      result.outsideLinks.map((link) => `${link.path} → ${link.target}`),
      cut.outsideLinks,
    ),
    ...section('Changed after installation', result.modified, cut.modified),
    ...section('Missing though conda installed them', result.missing, cut.missing),
    ...section('Installed in editable form', result.editable),
    ...section(
      'Left out',
      result.leftOut.map(({ path, why }) => `${path} (${why})`),
      cut.leftOut,
    ),
    ...section('Compiled Python left out, to be made anew', result.droppedPyc, cut.droppedPyc),
  ]
}

/** In compiled Python an old path only shows in error messages: what comes first matters more. */
const compiledLast = (a: { readonly path: string }, b: { readonly path: string }): number =>
  Number(a.path.endsWith('.pyc')) - Number(b.path.endsWith('.pyc'))

const indented = (lines: readonly string[]): string => lines.map((line) => `  ${printable(line)}`).join('\n')

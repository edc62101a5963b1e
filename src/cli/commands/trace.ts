/** `conda-deploy trace -- COMMAND…`: ends as its program ends, or with 3 when a limit of --fail-on is broken. */
import { realpath, writeFile } from 'node:fs/promises'
import { constants, homedir } from 'node:os'
import { resolve } from 'node:path'
import { Argument, type Command, InvalidArgumentError } from 'commander'
import { EnvError, fromSystem } from '../../errors.js'
import type { TraceReport } from '../../trace/report.js'
import { asTyped, example, type Globals, integer, type Session } from '../common.js'
import { comparisonText, explainText, traceText } from '../trace-text.js'

interface Flags extends Globals {
  readonly target?: string
  readonly source?: string
  readonly shared?: readonly string[]
  readonly home?: string
  readonly bytes?: boolean
  readonly top: number
  readonly explain?: boolean
  readonly output?: string
  readonly chart?: string
  readonly failOn?: readonly string[]
  readonly compare?: readonly string[]
}

/** A limit was broken; the program itself did its work. */
const broken = 3

const collect = (value: string, all: readonly string[] = []): readonly string[] => [...all, value]

function atLeastZero(text: string): number {
  const value = integer(text)
  if (value < 0) throw new InvalidArgumentError('It must be at least 0.')
  return value
}

export function addTrace(program: Command, session: Session): void {
  const command = program
    .command('trace')
    .summary('run a program and count its file accesses by file system')
    .description(
      'Run a program and count every file access of it and of all that it starts, by what served them: local disk or shared storage. ' +
        "stdout is the program's; the report goes to stderr, with --json as its last line. Ends with the status of the program.",
    )
    .usage('[options] -- <command...>')
    .addArgument(new Argument('[command...]', 'the program and its arguments, after --'))
    .option('--target <dir>', 'where the environment was deployed to')
    .option('--source <dir>', 'where it came from')
    .option('--shared <dir>', 'a folder that counts as shared whatever serves it (may be given again)', collect)
    .option('--home <dir>', 'the home folder (default: that of the user)')
    .option('--bytes', 'also count reads of open files and their bytes (every read is stopped at: slow)')
    .option('--top <n>', 'how many folders and files to list', atLeastZero, 10)
    .option('--explain', 'say what causes each access to shared storage, and what would remove it')
    .option('-o, --output <file>', 'write the report as JSON, for --compare')
    .option('--chart <file>', 'draw the report, or both reports of --compare, as SVG')
    .option(
      '--fail-on <limit>',
      "end with 3 when it holds, e.g. 'shared>0', 'home.misses>=10' (may be given again)",
      collect,
    )
    .option('--compare <reports...>', 'show two reports side by side instead of running anything')
  example(
    command,
    'conda-deploy trace --explain -- python -c "import numpy"',
    "conda-deploy trace --target DIR --fail-on 'shared>0' -- jupyter lab",
    'conda-deploy trace --compare before.json after.json --chart both.svg',
  )
  command.action(async (words: string[], _: unknown, self: Command) => {
    const flags = self.optsWithGlobals<Flags>()
    if (flags.compare !== undefined) return await compare(flags, words, session)
    if (words.length === 0) throw new EnvError('USAGE', 'no program is named', { hint: 'it comes after --' })
    const { breaches, parseLimit } = await import('../../trace/limits.js')
    const { trace } = await import('../../trace/trace.js')
    const limits = (flags.failOn ?? []).map(parseLimit)
    const { target, source, shared, home, bytes } = flags
    const { terminal } = session
    terminal.close()
    const running = trace({
      ...{ argv: asTyped(words), target, source, shared, home, bytes },
      foreground: true,
      reporter: terminal,
    })
    // From here on signals are for the program, which `trace` hands them to.
    session.release()
    const report = await running
    const broke = breaches(report, limits)
    const { explain } = await import('../../trace/explain.js')
    const named = resolve(home ?? homedir())
    const explained = flags.explain ? explain(report, named, await realpath(named).catch(() => named)) : undefined
    terminal.say(traceText(report, flags.top))
    if (explained !== undefined) terminal.say(`\n${explainText(explained)}`)
    for (const { limit, found } of broke) terminal.warn(`${limit}: it is ${found}`)
    terminal.aside({ ...report, ...(explained === undefined ? {} : { explained }), breaches: broke })
    session.status = statusOf(report, broke.length > 0)
    // Last: what cannot be written must not hide what was counted, in a run that may have taken hours.
    await writeOutputs(flags, report)
  })
}

function statusOf({ status, signal }: TraceReport, isBroken: boolean): number {
  if (signal !== null) return 128 + (constants.signals[signal as NodeJS.Signals] ?? 0)
  if (status !== null && status !== 0) return status
  return isBroken ? broken : 0
}

async function writeOutputs({ output, chart: file }: Flags, report: TraceReport): Promise<void> {
  if (output !== undefined) await write(output, `${JSON.stringify(report, null, 2)}\n`)
  if (file !== undefined) await draw(file, [report])
}

async function write(path: string, text: string): Promise<void> {
  await writeFile(path, text).catch((error: unknown) => {
    throw fromSystem(error, 'cannot write', path)
  })
}

async function draw(path: string, reports: readonly TraceReport[]): Promise<void> {
  const { chart } = await import('../../trace/chart.js')
  const bars = reports.map(({ command, servers }) => ({
    label: command.join(' '),
    ...{ shared: servers.shared.calls, local: servers.local.calls, unknown: servers.unknown.calls },
  }))
  await write(path, chart('File accesses by what served them', bars))
}

async function compare(flags: Flags, words: readonly string[], { terminal }: Session): Promise<void> {
  const files = flags.compare ?? []
  const [first, second] = files
  if (files.length !== 2 || first === undefined || second === undefined || words.length > 0)
    throw new EnvError('USAGE', `--compare takes two reports and no program, got ${files.length} reports`)
  const { compareReports, readReport } = await import('../../trace/compare.js')
  const [a, b] = [await readReport(first), await readReport(second)]
  const comparison = compareReports(a, b)
  if (flags.chart !== undefined) await draw(flags.chart, [a, b])
  terminal.result(comparison, comparisonText(comparison))
}

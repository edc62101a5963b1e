/**
 * One task on each node of an allocation, in one step of srun: started once, told what to do by its input, and ended by the end of it.
 * srun itself is not signalled as long as it ends by itself, because it kills its tasks before they can clean up.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { EnvError } from '../errors.js'
import { now } from '../report.js'
import type { Allocation } from './allocation.js'
import { type FromNode, listener, type NodeResult, type ToNode } from './messages.js'

type Ready = Extract<FromNode, { readonly is: 'ready' }>

export interface NodeState {
  ready: Ready | null
  result: NodeResult | null
  /** Its task has said that it has cleaned up. */
  clean: boolean
  /** A file that its task could not take away. */
  left: string | undefined
  heard: number
}

export interface StepSettings {
  readonly allocation: Allocation
  /** What is run on each node. */
  readonly command: readonly string[]
  /** Milliseconds for which a node that is waited for may say nothing. */
  readonly silence: number
  /** Called when a node has told something new. */
  readonly onChange: () => void
}

/** Tells how the program ended when it cannot: it is not there, or was killed. Waits for it on a signal, which it gets too. */
const wrapper =
  'trap : TERM INT HUP; "$@"; s=$?; [ $s = 0 ] || printf \'@%s.{"is":"ended","status":%d}\\n\' "$SLURMD_NODENAME" $s'

/** Options of srun for one task on each of `nodes`, beside whatever runs there. */
export const stepOptions = (nodes: readonly string[]): string[] => [
  ...[`--nodes=${nodes.length}`, `--ntasks=${nodes.length}`, '--ntasks-per-node=1', `--nodelist=${nodes.join(',')}`],
  ...['--overlap', '--no-kill', '--kill-on-bad-exit=0', '--wait=0', '--export=ALL', '--chdir=/', '--cpu-bind=none'],
  '--job-name=conda-deploy',
]

/** Milliseconds for tasks to clean up when they are told that it is over, and for srun to follow them. */
const patience = 20_000
/** Characters of what srun says that are kept. */
const mostSaid = 16_384

export class Step {
  readonly nodes: ReadonlyMap<string, NodeState>
  readonly #settings: StepSettings
  readonly #child: ChildProcess
  readonly #ended: Promise<void>
  /** What srun said, and what tasks said that was no message. */
  readonly #talk: string[] = []
  #over = false
  #failure: Error | undefined
  #wake: () => void = () => undefined

  constructor(settings: StepSettings) {
    const { allocation, command } = settings
    this.#settings = settings
    this.nodes = new Map(
      allocation.nodes.map((name) => [name, { ready: null, result: null, clean: true, left: undefined, heard: now() }]),
    )
    const args = [...stepOptions(allocation.nodes), 'sh', '-c', wrapper, 'sh', ...command]
    // A session of its own: what a terminal sends is for us, who then end it in order.
    this.#child = spawn(allocation.programs['srun'] ?? 'srun', args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: true,
    })
    const hear = listener(
      (node, said) => this.#hear(node, said),
      (line) => this.#keep(line),
    )
    this.#child.stdout?.setEncoding('utf8').on('data', hear)
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      for (const line of text.split('\n')) if (line.trim() !== '') this.#keep(line)
    })
    this.#child.stdin?.on('error', () => undefined) // srun has ended: that is seen below.
    this.#ended = new Promise((resolve) => {
      this.#child.once('error', (error) => {
        this.#failure = error
        resolve()
      })
      this.#child.once('close', () => resolve())
    })
    void this.#ended.then(() => {
      this.#over = true
      this.#wake()
    })
  }

  #keep(line: string): void {
    if (this.#talk.join('').length < mostSaid) this.#talk.push(line)
    // srun goes on with the other nodes; this one will never say that it has failed.
    const [, name = ''] = /(?:Node failure on|failed on node) ([\w.-]+)/.exec(line) ?? []
    const node = this.nodes.get(name)
    if (node !== undefined) node.result ??= lost('Slurm lost the node', line)
    this.#wake()
  }

  #hear(name: string, said: FromNode): void {
    const node = this.nodes.get(name)
    if (node === undefined) return
    node.heard = now()
    if (said.is === 'ready') node.ready = said
    if (said.is === 'done') [node.result, node.clean, node.left] = [node.result ?? said.result, true, said.left]
    if (said.is === 'ended') node.result ??= lost(`its task ended with status ${said.status}`, this.#saidOf(name))
    this.#settings.onChange()
    this.#wake()
  }

  /** What srun says of a node, as a further explanation. */
  #saidOf(name: string): string {
    const word = new RegExp(`\\b${name.replaceAll('.', '\\.')}\\b`)
    return this.#talk
      .filter((line) => word.test(line))
      .slice(-3)
      .join('; ')
  }

  /** Nodes without a result. */
  waiting(): string[] {
    return [...this.nodes].flatMap(([name, { result }]) => (result === null ? [name] : []))
  }

  /** A node that will not be told what to do. */
  fail(name: string, why: { readonly code: string; readonly message: string; readonly hint?: string }): void {
    const node = this.nodes.get(name)
    if (node !== undefined) node.result ??= { status: 'failed', ...why, warnings: [] }
  }

  /** As Slurm numbers it, said by any of its tasks. */
  id(): string {
    return [...this.nodes.values()].flatMap(({ ready }) => ready?.step ?? [])[0] ?? ''
  }

  tell(order: ToNode): void {
    if (order.is === 'expect') for (const node of this.nodes.values()) node.clean = false
    this.#child.stdin?.write(`${JSON.stringify(order)}\n`)
  }

  /**
   * Waits until `so` is true of every node that has no result yet. Nodes that say nothing for too long, or whose step is over, get a
   * result: failed. Throws CANCELLED.
   */
  async until(so: (node: NodeState) => boolean, signal?: AbortSignal): Promise<void> {
    const { silence } = this.#settings
    for (const node of this.nodes.values()) node.heard = now()
    for (;;) {
      if (signal?.aborted) throw new EnvError('CANCELLED', 'cancelled', { cause: signal.reason })
      const missing = [...this.nodes].filter(([, node]) => node.result === null && !so(node))
      if (missing.length === 0) return
      for (const [name, node] of missing) {
        if (this.#over) node.result = lost(`its task is gone${this.#why()}`, this.#saidOf(name))
        else if (now() - node.heard > silence)
          node.result = lost(`it has said nothing for ${Math.round(silence / 1000)} s`, this.#saidOf(name))
      }
      if (!this.#over && missing.some(([, node]) => node.result === null)) await this.#change(signal)
    }
  }

  #why(): string {
    if (this.#failure !== undefined) return `: ${this.#failure.message}`
    return this.#talk.length === 0 ? '' : `: ${this.#talk.slice(0, 3).join('; ')}`
  }

  #change(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(done, 1000)
      const wake = (): void => done()
      function done(): void {
        clearTimeout(timer)
        signal?.removeEventListener('abort', wake)
        resolve()
      }
      this.#wake = wake
      signal?.addEventListener('abort', wake, { once: true })
    })
  }

  /** Ends the tasks: by the end of their input first, upon which they clean up. */
  async close(): Promise<void> {
    this.#child.stdin?.end()
    for (const name of [null, 'SIGTERM', 'SIGKILL'] as const) {
      if (name !== null && this.#child.exitCode === null) this.#child.kill(name)
      let timer: NodeJS.Timeout | undefined
      const late = new Promise<boolean>((resolve) => {
        timer = setTimeout(resolve, patience, true)
      })
      const isLate = await Promise.race([this.#ended.then(() => false), late])
      clearTimeout(timer)
      if (!isLate) return
    }
  }
}

function lost(why: string, said: string): NodeResult {
  return { status: 'failed', code: 'IO', message: `${why}${said === '' ? '' : ` (${said})`}`, warnings: [] }
}

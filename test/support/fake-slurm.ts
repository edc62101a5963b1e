/**
 * Programs with the names of Slurm's, which behave and fail as Slurm's do: for what a cluster does not do when a test wants it. All "nodes"
 * are this machine and have its files.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/**
 * How a node misbehaves: its program is not there; it is killed when it starts; it says nothing more once it is ready; the node is gone.
 * `refused`, of any node: there is no step at all.
 */
export type Misbehaviour = 'missing' | 'killed' | 'mute' | 'gone' | 'refused'
/** `partial` and `nothing` as with a node that failed meanwhile; `slow` writes a block, and then sleeps. */
export type Sending = 'well' | 'partial' | 'wrong' | 'nothing' | 'slow'

export interface FakeSlurm {
  /** For PATH, before the others. */
  readonly bin: string
  /** Variables of an allocation, and of what is to go wrong in it. */
  env(
    nodes: readonly string[],
    how?: { readonly send?: Sending; readonly nodes?: Readonly<Record<string, Misbehaviour>> },
  ): Record<string, string>
  /** Each call of a program writes a line to it. */
  readonly log: string
}

export function fakeSlurm(folder: string): FakeSlurm {
  const bin = join(folder, 'slurm-bin')
  const log = join(folder, 'slurm.log')
  mkdirSync(bin)
  writeFileSync(log, '')
  const program = (name: string, text: string): void => writeFileSync(join(bin, name), text, { mode: 0o755 })
  program('scontrol', '#!/bin/sh\n[ "$1 $2" = "show hostnames" ] || exit 1\necho "$3" | tr , "\\n"\n')
  program('sbcast', sbcast)
  program('srun', srun)
  return {
    bin,
    log,
    env: (nodes, { send = 'well', nodes: bad = {} } = {}) => ({
      ...{ SLURM_JOB_ID: '4711', SLURM_JOB_NODELIST: nodes.join(','), PATH: `${bin}:/usr/local/bin:/usr/bin:/bin` },
      ...{ FAKE_SEND: send, FAKE_NODES: JSON.stringify(bad), FAKE_LOG: log, FAKE_NODE: process.execPath },
    }),
  }
}

/** It does not make folders, does not replace a file, and writes in place. */
const sbcast = `#!/bin/sh
echo "sbcast $*" >>"$FAKE_LOG"
[ "$1 $2" = "-j 4711.0" ] || exit 1
shift 2
set -C
case $FAKE_SEND in
  well) cat "$1" >"$2" ;;
  wrong) tr a b <"$1" >"$2" ;;
  partial) head -c 100 "$1" >"$2"
    echo 'sbcast: error: Unable to contact slurm controller (connect failure)' >&2
    exit 1 ;;
  nothing) echo 'sbcast: error: REQUEST_FILE_BCAST(node2): No such file or directory' >&2; exit 2 ;;
  slow) head -c 100 "$1" >"$2"; exec sleep 60 ;;
esac
`

/** Hands its input to all tasks; a signal kills them at once, as srun does. */
const srun = `#!/bin/sh
exec "$FAKE_NODE" - "$@" 3<&0 <<'EOF'
const { appendFileSync, createReadStream } = require('node:fs')
const { spawn } = require('node:child_process')
const args = process.argv.slice(2)
const at = args.findIndex((word) => !word.startsWith('--'))
const nodes = args.find((word) => word.startsWith('--nodelist=')).slice(11).split(',')
const bad = JSON.parse(process.env.FAKE_NODES)
appendFileSync(process.env.FAKE_LOG, 'srun ' + args.join(' ').replaceAll('\\n', ' ') + '\\n')
if (Object.values(bad).includes('refused')) {
  console.error('srun: error: Unable to create step for job 4711: Requested nodes are busy')
  process.exit(1)
}
const command = args.slice(at)
const program = command.indexOf('sh', 1) + 1
const isTask = command[0] === 'sh'
const tasks = nodes.flatMap((node) => {
  const words = [...command]
  if (isTask && bad[node] === 'gone') {
    console.error('srun: error: Node failure on ' + node)
    return []
  }
  if (isTask && bad[node] === 'missing') words.splice(program, words.length, '/no/such/node')
  if (isTask && bad[node] === 'killed') words.splice(program, words.length, 'sh', '-c', 'kill -9 $$')
  const ready = '@' + node + '.' + JSON.stringify({ is: 'ready', step: '0', rejected: [], places: [{ path: args.at(-1), freeBytes: 1e12 }] })
  if (isTask && bad[node] === 'mute') words.splice(program, words.length, 'sh', '-c', 'echo "$1"; cat >/dev/null', 'sh', ready)
  const child = spawn(words[0], words.slice(1), { env: { ...process.env, SLURMD_NODENAME: node, SLURM_STEP_ID: '0' }, stdio: ['pipe', 'inherit', 'inherit'] })
  child.stdin.on('error', () => {})
  return [child]
})
const input = args.includes('--input=none') ? null : createReadStream(null, { fd: 3 })
input?.on('data', (chunk) => tasks.forEach((task) => task.stdin.write(chunk)))
input?.on('end', () => tasks.forEach((task) => task.stdin.end()))
if (input === null) tasks.forEach((task) => task.stdin.end())
process.on('SIGTERM', () => {
  tasks.forEach((task) => task.kill('SIGKILL'))
  process.exit(143)
})
let left = tasks.length
let status = 0
tasks.forEach((task) => task.on('close', (code) => {
  status = Math.max(status, code ?? 137)
  if (--left === 0) process.exit(status)
}))
EOF
`

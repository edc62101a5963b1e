/**
 * A real Slurm on this machine: munged, slurmctld, and a slurmd to a virtual node, each of which has a namespace of its own: its host name,
 * and its own `local` folder, as nodes have their own disk. All is beneath one folder; daemons listen on 127.0.0.1 and are ended by the
 * processes they are.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { availableParallelism, hostname } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const programs = [
  'munged',
  'slurmctld',
  'slurmd',
  'sbatch',
  'srun',
  'scancel',
  'scontrol',
  'sinfo',
  'squeue',
  'unshare',
]
const path = '/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin'

/** Why there can be no cluster here; null: there can. */
export function missingForSlurm(): string | null {
  if (process.platform !== 'linux') return 'needs Linux'
  if (process.getuid?.() !== 0) return 'needs root, for namespaces and jobs of other users'
  const absent = programs.filter((name) => !path.split(':').some((folder) => existsSync(join(folder, name))))
  if (absent.length > 0)
    return `needs ${absent.join(', ')} (apt-get install slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge)`
  const unshared = spawnSync('unshare', ['-m', '-u', 'true'])
  return unshared.status === 0 ? null : 'needs namespaces of its own (unshare -m -u)'
}

export interface Ended {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface Hooks {
  readonly prolog?: string
  readonly epilog?: string
  readonly taskProlog?: string
  /** Jobs have a /tmp and a /dev/shm of their own: job_container/tmpfs. The cluster must not lie there, then. */
  readonly privateTmp?: boolean
}

export class Cluster {
  readonly folder: string
  readonly nodes: readonly string[]
  /** The same path on every node, and another folder on each. */
  readonly local: string
  readonly #daemons: { readonly name: string; readonly child: ChildProcess; readonly ended: Promise<void> }[] = []

  constructor(folder: string, nodes: number) {
    this.folder = folder
    this.nodes = Array.from({ length: nodes }, (_, i) => `node${i + 1}`)
    this.local = join(folder, 'local')
  }

  /** What a node has in its local folder, seen from outside. */
  localOf(node: string): string {
    return join(this.folder, 'nodes', node, 'local')
  }

  async up(hooks: Hooks): Promise<void> {
    chmodSync(this.folder, 0o755)
    for (const name of ['run', 'log', 'state', 'local']) mkdirSync(join(this.folder, name))
    mkdirSync(join(this.folder, 'munge'), { mode: 0o700 })
    for (const node of this.nodes) {
      for (const name of ['spool', 'container']) mkdirSync(join(this.folder, 'nodes', node, name), { recursive: true })
      mkdirSync(join(this.localOf(node), 'scratch'), { recursive: true })
      chmodSync(join(this.localOf(node), 'scratch'), 0o1777)
    }
    writeFileSync(this.#at('munge/key'), randomBytes(128), { mode: 0o400 })
    writeFileSync(this.#at('cgroup.conf'), 'CgroupPlugin=cgroup/v1\n')
    const container = `AutoBasePath=true\nBasePath=${this.folder}/nodes/%n/container\n`
    writeFileSync(this.#at('job_container.conf'), container)
    const hosts = this.nodes.map((node) => `127.0.0.1 ${node}\n`).join('')
    writeFileSync(this.#at('hosts'), `${readFileSync('/etc/hosts', 'utf8')}\n${hosts}`)
    writeFileSync(this.#at('slurm.conf'), configuration(this, await freePorts(this.nodes.length + 1), hooks))
    try {
      const socket = this.#at('run/munge.sock')
      this.#start('munged', 'munged', [
        ...['--force', '--foreground', `--key-file=${this.#at('munge/key')}`, `--seed-file=${this.#at('munge/seed')}`],
        ...[
          `--socket=${socket}`,
          `--pid-file=${this.#at('run/munged.pid')}`,
          `--log-file=${this.#at('log/munged.log')}`,
        ],
      ])
      await until('munged to listen', 10, () => existsSync(socket))
      this.#start('slurmctld', 'slurmctld', ['-D', '-f', this.#at('slurm.conf')])
      for (const node of this.nodes) this.#startNode(node)
      const idle = () => this.run('sinfo', ['-h', '-N', '-p', 'test', '-o', '%T']).stdout.match(/^idle$/gm)?.length
      await until('all nodes to be idle', 20, () => idle() === this.nodes.length)
    } catch (error) {
      const logs = this.#logs()
      await this.down()
      throw new Error(`${(error as Error).message}\n${logs}`)
    }
  }

  /** The end of each log. */
  #logs(): string {
    const names = readdirSync(this.#at('log')).filter((name) => name.endsWith('.log'))
    return names.map((name) => `${name}: ${readFileSync(this.#at(`log/${name}`), 'utf8').slice(-1000)}`).join('\n')
  }

  /** Its mounts go with its last process. */
  #startNode(node: string): void {
    const inside =
      'hostname "$1" && mount --make-rslave / && mount --bind "$2" "$3" && mount --bind "$4" /etc/hosts && shift 4 && exec "$@"'
    const slurmd = ['slurmd', '-D', '-N', node, '-f', this.#at('slurm.conf')]
    const words = [inside, 'sh', node, this.localOf(node), this.local, this.#at('hosts'), ...slurmd]
    this.#start(`slurmd.${node}`, 'unshare', ['-m', '-u', '--propagation', 'slave', 'sh', '-c', ...words])
  }

  #at(name: string): string {
    return join(this.folder, name)
  }

  #start(name: string, program: string, args: readonly string[]): void {
    const log = openSync(this.#at(`log/${name}.out`), 'a')
    const child = spawn(program, args, { env: this.env(), stdio: ['ignore', log, log], detached: true })
    const ended = new Promise<void>((resolve) => {
      child.once('exit', () => resolve())
      child.once('error', () => resolve())
    })
    this.#daemons.push({ name, child, ended })
  }

  env(): Record<string, string> {
    return { PATH: path, SLURM_CONF: this.#at('slurm.conf') }
  }

  /** A client of Slurm, as a user of the cluster. */
  run(program: string, args: readonly string[], as: { readonly uid?: number; readonly env?: object } = {}): Ended {
    const { uid, env } = as
    const { status, stdout, stderr } = spawnSync(program, args, {
      ...{ encoding: 'utf8', cwd: '/', env: { ...this.env(), ...env }, timeout: 60_000 },
      ...(uid === undefined ? {} : { uid, gid: uid }),
    })
    return { status, stdout, stderr }
  }

  /** Submits a script, and waits for its end; its output. `retries`: how often it is submitted again when Slurm cannot launch it. */
  async batch(
    script: string,
    args: readonly string[],
    as: { readonly uid?: number; readonly env?: object } = {},
    retries = 0,
  ): Promise<{ readonly job: string; readonly state: string; readonly output: string }> {
    const output = this.#at(`log/job-${randomBytes(4).toString('hex')}`)
    writeFileSync(output, '')
    chmodSync(output, 0o666)
    const file = `${output}.sh`
    writeFileSync(file, `#!/bin/sh\n${script}\n`, { mode: 0o755 })
    const words = ['--parsable', '-o', output, '-D', '/', ...args, file]
    for (let tries = 0; ; tries++) {
      const { status, stdout, stderr } = this.run('sbatch', words, as)
      if (status !== 0) throw new Error(`sbatch: ${stderr}`)
      const job = stdout.trim()
      const state = await this.finished(job)
      if (state !== 'HELD' || tries === retries) return { job, state, output: readFileSync(output, 'utf8') }
      this.run('scancel', [job])
    }
  }

  /** Waits for a job's end, epilogs included; its state. */
  async finished(job: string): Promise<string> {
    const show = (): string => this.run('scontrol', ['-o', 'show', 'job', job]).stdout
    const stateOf = (): string => /JobState=(\S+)/.exec(show())?.[1] ?? ''
    // Slurm could not launch it, and waits for somebody to look.
    const isHeld = (): boolean => show().includes('Reason=launch_failed_requeued_held')
    const over = (): boolean =>
      !['PENDING', 'CONFIGURING', 'RUNNING', 'COMPLETING', 'SUSPENDED', ''].includes(stateOf()) || isHeld()
    await until(`job ${job} to end`, 90, over).catch((error: Error) => {
      throw new Error(`${error.message}\n${show()}\n${this.#logs()}`)
    })
    return isHeld() ? 'HELD' : stateOf()
  }

  /** `idle` for a node that takes jobs, with the reason for one that does not. */
  stateOfNodes(): string[] {
    return this.run('sinfo', ['-h', '-N', '-p', 'test', '-o', '%T %E']).stdout.trim().split('\n')
  }

  async down(): Promise<void> {
    const queue = (): string => this.run('squeue', ['-h', '-a', '-o', '%i']).stdout.trim()
    if (existsSync(this.#at('slurm.conf'))) {
      for (const job of queue().split('\n')) if (job !== '') this.run('scancel', [job])
      await until('the queue to be empty', 20, () => queue() === '').catch(() => undefined)
    }
    // munged last: the others talk by it.
    for (const name of [/^slurmd\./, /^slurmctld$/, /^munged$/]) {
      const these = this.#daemons.filter((daemon) => name.test(daemon.name))
      for (const { child } of these) if (child.exitCode === null) child.kill('SIGTERM')
      const all = Promise.all(these.map(({ ended }) => ended))
      const late = await Promise.race([all.then(() => false), sleep(8000, true)])
      if (late) for (const { child } of these) if (child.exitCode === null) child.kill('SIGKILL')
      await all
    }
    this.#daemons.length = 0
  }
}

function configuration({ folder, nodes, local }: Cluster, ports: readonly number[], hooks: Hooks): string {
  const [first = 0, ...others] = ports
  const host = hostname().split('.')[0] ?? 'localhost'
  const { prolog, epilog, taskProlog, privateTmp = false } = hooks
  return [
    'ClusterName=test',
    ...[`SlurmctldHost=${host}(127.0.0.1)`, `SlurmctldPort=${first}`, 'SlurmUser=root', 'SlurmdUser=root'],
    ...[`StateSaveLocation=${folder}/state`, `SlurmdSpoolDir=${folder}/nodes/%n/spool`],
    ...[`SlurmctldPidFile=${folder}/run/slurmctld.pid`, `SlurmdPidFile=${folder}/run/slurmd.%n.pid`],
    ...[`SlurmctldLogFile=${folder}/log/slurmctld.log`, `SlurmdLogFile=${folder}/log/slurmd.%n.log`],
    ...['AuthType=auth/munge', 'CredType=cred/munge', `AuthInfo=socket=${folder}/run/munge.sock`],
    ...['ProctrackType=proctrack/linuxproc', 'TaskPlugin=task/none', 'JobAcctGatherType=jobacct_gather/none'],
    // Only 127.0.0.1 is listened on.
    ...['MpiDefault=none', 'CommunicationParameters=NoInAddrAny,NoCtldInAddrAny'],
    ...['SelectType=select/cons_tres', 'SelectTypeParameters=CR_Core', 'SlurmdParameters=config_overrides'],
    'SchedulerParameters=sched_min_interval=0,batch_sched_delay=0,sched_interval=1,defer_batch',
    ...['ReturnToService=2', 'InactiveLimit=0', 'KillWait=2', 'MinJobAge=300', 'MessageTimeout=20', 'CompleteWait=0'],
    ...[`TmpFS=${local}`, `PrologFlags=Alloc${privateTmp ? ',Contain' : ''}`, 'PrologEpilogTimeout=60'],
    ...(privateTmp ? ['JobContainerType=job_container/tmpfs'] : []),
    ...(prolog === undefined ? [] : [`Prolog=${prolog}`]),
    ...(epilog === undefined ? [] : [`Epilog=${epilog}`]),
    ...(taskProlog === undefined ? [] : [`TaskProlog=${taskProlog}`]),
    ...nodes.map(
      (node, i) =>
        `NodeName=${node} NodeHostname=${host} NodeAddr=127.0.0.1 Port=${others[i]} CPUs=${availableParallelism() * 4} ` +
        'RealMemory=1000 Features=conda State=UNKNOWN',
    ),
    `PartitionName=test Nodes=${nodes.join(',')} Default=YES MaxTime=10 State=UP OverSubscribe=NO`,
    `PartitionName=ruled Nodes=${nodes.join(',')} MaxTime=10 State=UP OverSubscribe=NO`,
    '',
  ].join('\n')
}

/** Ports that nobody listened on a moment ago. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer())
  const ports = await Promise.all(
    servers.map(
      (server) =>
        new Promise<number>((resolve, reject) => {
          server.once('error', reject)
          server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port))
        }),
    ),
  )
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}

export async function until(what: string, seconds: number, so: () => boolean): Promise<void> {
  const end = performance.now() + seconds * 1000
  while (!so()) {
    if (performance.now() > end) throw new Error(`waited ${seconds} s for ${what}`)
    await sleep(50)
  }
}

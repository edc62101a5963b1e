/** Counting where the server stands: the same folders through served.c, with the client's cache cold. */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { has, type Lab } from '../lab.js'

export interface Operations {
  readonly operations: number
  readonly bytes: number
}

/** Why it cannot be done here; undefined: it can. */
export function cannotServe(lab: Lab): string | undefined {
  if (process.getuid?.() !== 0) return 'counting at the server needs root, to mount'
  if (!existsSync('/dev/fuse') || !has('fusermount3')) return 'counting at the server needs FUSE (fuse3)'
  try {
    const flags = execFileSync('pkg-config', ['--cflags', '--libs', 'fuse3'], { encoding: 'utf8', stdio: 'pipe' })
    const source = join(lab.root, 'bench/served/served.c')
    execFileSync('cc', ['-O2', '-o', program(lab), source, ...flags.trim().split(/\s+/)], { stdio: 'pipe' })
    return undefined
  } catch {
    return 'counting at the server needs libfuse3-dev, pkg-config and a C compiler'
  }
}

const program = (lab: Lab): string => join(lab.folder, 'served')

/** Runs a shell command while `folders` are served, in a mount namespace of its own. */
export function operationsOf(lab: Lab, folders: readonly string[], command: string, home: string): Operations {
  const logs = folders.map((_, i) => join(lab.folder, `served-${i}.json`))
  for (const log of logs) rmSync(log, { force: true })
  const serve = folders.map(
    (folder, i) => `'${program(lab)}' '${folder}' '${folder}' '${logs[i]}' 2>/dev/null & served="$served $!"`,
  )
  const wait = folders.map(
    (folder) =>
      `for i in $(seq 500); do mountpoint -q '${folder}' && break; sleep 0.01; done; mountpoint -q '${folder}'`,
  )
  const unmount = folders.map((folder) => `umount '${folder}'`)
  const script = [...serve, ...wait, 'status=0', '(eval "$1") || status=$?', ...unmount, 'wait $served', 'exit $status']
  const done = spawnSync('unshare', ['-m', 'sh', '-ec', script.join('\n'), 'sh', command], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, HOME: home },
  })
  if (done.status !== 0) throw new Error(`exit status ${done.status} while served: ${command}`)
  const all = logs.map((log) => JSON.parse(readFileSync(log, 'utf8')) as Operations)
  return {
    operations: all.reduce((sum, one) => sum + one.operations, 0),
    bytes: all.reduce((sum, one) => sum + one.bytes, 0),
  }
}

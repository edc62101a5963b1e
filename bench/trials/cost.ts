/** Recorded without a bar: system calls, and deploying onto a disk. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, statfsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Contender, Row, Trial } from '../contender.js'
import { deploy } from '../contenders/ours.js'
import { unsquashfs } from '../contenders/squashfs.js'
import { recipe, tarZstd } from '../contenders/tar.js'
import { clear, has, type Lab } from '../lab.js'
import { race, rowOf } from '../race.js'

/** One traced run; its time says nothing. */
function traced(lab: Lab, contender: Contender): Row {
  const target = join(lab.folder, 'target')
  const log = join(lab.folder, 'strace')
  contender.before?.(lab, target)
  const done = spawnSync('strace', ['-f', '-c', '-o', log, 'sh', '-ec', contender.command(lab, target)], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  clear(target)
  if (done.status !== 0) throw new Error(`exit status ${done.status}: ${contender.name}`)
  const calls = readFileSync(log, 'utf8')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => /^[\d.]+$/.test(fields[0] ?? '') && fields.length >= 5)
    .map((fields) => [fields.at(-1) ?? '', Number(fields[3])] as const)
  const most = calls.filter(([name]) => name !== 'total').sort((a, b) => b[1] - a[1])
  const counted = Object.fromEntries([...calls.filter(([name]) => name === 'total'), ...most.slice(0, 6)])
  return { ...rowOf(contender.name, []), counted }
}

export const callsTrial: Trial = {
  name: 'calls',
  title: 'system calls of one deployment, as strace -c counts them',
  corpora: ['jupyter'],
  slow: true,
  run(lab) {
    if (!has('strace')) {
      console.error('not counted: calls: strace is not installed')
      return { rows: [], bars: [] }
    }
    return {
      rows: [deploy, recipe, tarZstd, unsquashfs].filter((c) => !c.missing?.(lab)).map((c) => traced(lab, c)),
      bars: [],
    }
  },
}

export const diskTrial: Trial = {
  name: 'disk',
  title: 'onto the disk beneath the temporary folder, not waiting for the disk',
  corpora: ['jupyter'],
  slow: true,
  run(lab) {
    const tmpfs = 0x01021994
    if (statfsSync(tmpdir()).type === tmpfs) {
      console.error(`not counted: disk: ${tmpdir()} is in memory`)
      return { rows: [], bars: [] }
    }
    const folder = mkdtempSync(join(tmpdir(), 'conda-deploy-bench-disk-'))
    try {
      return {
        rows: race(lab, [deploy, recipe, tarZstd, unsquashfs], { folder, rounds: Math.min(3, lab.rounds) }),
        bars: [],
      }
    } finally {
      clear(folder)
    }
  },
}

/** sbcast as a child: whenever it is cancelled, it does not go on, which would be waited for. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { sbcast } from '../../src/slurm/send.js'

test('cancelled at any moment, first of all while it starts', async () => {
  const work = mkdtempSync(join(tmpdir(), 'conda-deploy-send-'))
  const program = join(work, 'sbcast')
  writeFileSync(program, '#!/bin/sh\nexec sleep 100\n')
  chmodSync(program, 0o755)
  const allocation = { job: '1', nodes: ['node1'], programs: { sbcast: program } }
  try {
    for (let i = 0; i < 120; i++) {
      const stop = new AbortController()
      const sending = sbcast(allocation, '0', program, join(work, 'copy'), stop.signal)
      const until = process.hrtime.bigint() + BigInt(i * 50_000)
      if (i % 2 === 0) await sleep(i / 20)
      else while (process.hrtime.bigint() < until);
      stop.abort()
      await expect(sending).rejects.toMatchObject({ code: 'CANCELLED' })
    }
  } finally {
    rmSync(work, { recursive: true })
  }
})

/**
 * `npm run demo`: the main job on an environment that it makes itself. Packs it, takes the source and its package cache away, deploys
 * the archive, runs a program of the deployed environment, verifies it, and leaves nothing behind.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, renameSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { deploy, pack, verify } from '../../src/index.js'
import { makeSampleEnvironment } from './sample-env.js'

const say = (label: string, text: string): void => console.log(`${label.padEnd(10)} ${text}`)
const seconds = (phases: object): string =>
  Object.entries(phases as Record<string, number>)
    .map(([phase, time]) => `${phase} ${time.toFixed(3)} s`)
    .join(', ')

const work = mkdtempSync(join(tmpdir(), 'conda-deploy-demo-'))
try {
  const { prefix: source } = makeSampleEnvironment(work, { filler: 2000 })
  say('made', `${source}, with a 255-byte placeholder in its packages`)

  const archive = join(work, 'sample.tar.zst')
  const packed = await pack({ prefix: source, output: archive })
  say(
    'packed',
    `${packed.files} files, ${(packed.bytes / 1e6).toFixed(1)} MB into ${((packed.packedBytes ?? 0) / 1e6).toFixed(1)} MB (${seconds(packed.seconds)})`,
  )

  renameSync(join(work, 'home'), join(work, 'away'))
  say('taken away', 'the environment and its package cache')

  const prefix = join(work, 'node/env')
  const deployed = await deploy({ archive, to: prefix })
  say('deployed', `${deployed.files} files, ${(deployed.bytes / 1e6).toFixed(1)} MB to ${prefix}`)
  say(
    '',
    `${deployed.spots} prefixes rewritten in ${deployed.rewritten} files, ${deployed.threads} threads (${seconds(deployed.seconds)})`,
  )

  const said = execFileSync(join(prefix, 'bin/hello'), { encoding: 'utf8' })
  if (!said.includes(`prefix=${prefix}\n`) || !said.includes('data=forty-two'))
    throw new Error(`bin/hello said: ${said}`)
  say('ran', `bin/hello: ${said.split('\n')[0]}`)

  const verified = await verify(prefix)
  if (verified.faults.length > 0)
    throw new Error(`${verified.faults.length} faults: ${JSON.stringify(verified.faults[0])}`)
  say('verified', `${verified.entries} entries, no fault`)
} finally {
  execFileSync('sh', ['-c', `chmod -R u+w '${work}' && rm -rf '${work}'`])
}

/**
 * Beside job_container/tmpfs, where a job has a /tmp and a /dev/shm of its own and prologs run outside of them. Nothing that the job needs
 * may lie there, conda-deploy included: so all of it is copied to /var/tmp.
 */
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { slurmInstall } from '../../../src/slurm/install.js'
import { environmentOf } from '../../faults/fixture.js'
import { makeEnvironment } from '../../support/make-env.js'
import { cliFile, runCli } from '../../support/run-cli.js'
import { removeTree } from '../../support/temp.js'
import { Cluster, missingForSlurm } from './cluster.js'

const missing = missingForSlurm()
if (missing !== null) console.warn(`skipped: test/e2e/slurm/private-tmp: ${missing}`)

const nobody = 65534

describe.skipIf(missing !== null)('beside job_container/tmpfs', () => {
  let folder: string
  let cluster: Cluster
  let archive: string

  beforeAll(async () => {
    folder = realpathSync(mkdtempSync('/var/tmp/conda-deploy-slurm-'))
    chmodSync(folder, 0o755)
    cluster = new Cluster(join(folder, 'cluster'), 1)
    archive = join(folder, 'sample.tar.zst')
    mkdirSync(cluster.folder)
    makeEnvironment(join(folder, 'env'), environmentOf(20, 100))
    expect(await runCli(['pack', '-p', join(folder, 'env'), '-o', archive, '-q'])).toMatchObject({ status: 0 })
    chmodSync(archive, 0o644)
    const checkout = dirname(dirname(cliFile))
    for (const name of ['dist', 'build/Release/conda_deploy.node', 'node_modules/yaml', 'package.json'])
      cpSync(join(checkout, name), join(folder, 'program', name), { recursive: true })
    const policy = join(folder, 'policy.yaml')
    const root = join(cluster.local, 'scratch')
    writeFileSync(policy, `cache: { root: ${root} }\njobs: { state: ${cluster.local}/run }\n`, { mode: 0o644 })
    const to = join(folder, 'site')
    await slurmInstall({ to, policy, command: [process.execPath, join(folder, 'program/dist/conda-deploy.cjs')] })
    await cluster.up({
      ...{ prolog: join(to, 'prolog.d/*'), epilog: join(to, 'epilog.d/*'), taskProlog: join(to, 'task-prolog') },
      privateTmp: true,
    })
  })

  afterAll(async () => {
    await cluster?.down()
    removeTree(folder)
  })

  test('a task has its environment, and a /tmp of its own', async () => {
    const script = 'tool; touch /tmp/mine-alone; ls -A /tmp'
    const asking = `--comment=conda-deploy=${archive}`
    const user = { uid: nobody, env: { HOME: '/', USER: 'nobody' } }
    // Slurm 22.05 fails to make the namespace of every second job on a busy machine ("ns base mount failed"), before any hook of ours.
    const { state, output } = await cluster.batch(script, [asking], user, 20)
    expect(state, output).toBe('COMPLETED')
    const lines = output.trim().split('\n')
    expect(lines[0]).toMatch(/\/local\/scratch\/conda-deploy-65534\/[0-9a-f]{16}$/)
    expect(lines.at(-1)).toBe('mine-alone')
    expect(readdirSync('/tmp')).not.toContain('mine-alone')
    expect(cluster.stateOfNodes()).toEqual(['idle none'])
  })
})

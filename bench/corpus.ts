/** The environment a benchmark works on: the real Jupyter stack where conda packages for it are at hand, else one of the same shape. */
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { makeSampleEnvironment } from '../test/support/sample-env.js'

/** Folder with conda packages and their installer, beside the checkout; `CONDA_DEPLOY_CHANNEL` names another. */
export const channelFolder = (root: string): string | undefined => {
  const folder = resolve(process.env['CONDA_DEPLOY_CHANNEL'] ?? join(root, '../shared/channel'))
  return existsSync(join(folder, 'make_scenarios.py')) ? folder : undefined
}

export async function makeCorpus(root: string, target: string): Promise<{ env: string; corpus: string }> {
  const channel = channelFolder(root)
  if (channel) {
    const scenario = ['make_scenarios.py', '--root', target, 'myproject']
    execFileSync('python3', scenario, {
      cwd: channel,
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1' },
    })
    return { env: join(target, 'home/alice/.conda/envs/myproject'), corpus: 'Jupyter' }
  }
  const sample = makeSampleEnvironment(target, { filler: 18_000 })
  return { env: sample.prefix, corpus: 'sample of 18,000 files' }
}

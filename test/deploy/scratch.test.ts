import { describe, expect, test } from 'vitest'
import { candidates } from '../../src/deploy/scratch.js'

const paths = (env: Record<string, string>, user: string | null = 'alice') =>
  candidates(env, user).try.map(({ path, source }) => `${path} ${source}`)

describe('where scratch is looked for', () => {
  test('without any variable: the burst buffer, scratch, local disks, memory last', () => {
    expect(paths({})).toEqual([
      '/mnt/bb/alice default',
      '/scratch/alice default',
      '/local default',
      '/tmp default',
      '/dev/shm default',
    ])
  })

  test('variables come first, in the order of who speaks for the job', () => {
    const env = { TMPDIR: '/t', LOCAL_SCRATCH: '/l', SLURM_TMPDIR: '/s', CONDA_DEPLOY_ROOT: '/r', HOME: '/home/alice' }
    expect(paths(env).slice(0, 4)).toEqual([
      '/r $CONDA_DEPLOY_ROOT',
      '/s $SLURM_TMPDIR',
      '/l $LOCAL_SCRATCH',
      '/t $TMPDIR',
    ])
  })

  test('a place that is named twice is tried once, where it comes first', () => {
    expect(paths({ TMPDIR: '/tmp/', SLURM_TMPDIR: '/tmp' }).filter((line) => line.startsWith('/tmp '))).toEqual([
      '/tmp $SLURM_TMPDIR',
    ])
  })

  test('an empty variable says nothing, a relative one is rejected', () => {
    const { try: tried, rejected } = candidates({ TMPDIR: '', SLURM_TMPDIR: 'scratch' }, null)
    expect(rejected).toEqual([{ path: 'scratch', source: '$SLURM_TMPDIR', why: 'it is not an absolute path' }])
    expect(tried.map(({ path }) => path)).toEqual(['/local', '/tmp', '/dev/shm'])
  })
})

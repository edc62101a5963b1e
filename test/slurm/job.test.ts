/** Which job a hook is for, and what it asks for, by the variables of each scheduler. */
import { describe, expect, test } from 'vitest'
import { jobOf, namedIn, wantedBy } from '../../src/slurm/job.js'

const slurm = {
  ...{ SLURM_JOB_ID: '4711', SLURM_JOB_USER: 'alice', SLURM_JOB_UID: '1001', SLURM_JOB_GID: '100' },
  ...{ SLURM_JOB_PARTITION: 'gpu', SLURM_JOB_WORK_DIR: '/home/alice/run' },
}
const job = (more: Readonly<Record<string, string>> = {}) => jobOf({ ...slurm, ...more })
const commented = (comment: string) => wantedBy(job({ SLURM_JOB_COMMENT: comment }), {}, [])

describe('the job', () => {
  test('is what the scheduler says; Slurm says whose it is, too', () => {
    expect(job()).toMatchObject({ holder: 'slurm:4711', user: 'alice', partition: 'gpu', constraints: [] })
    expect(job().account()).toEqual({ name: 'alice', uid: 1001, gid: 100 })
    expect(job({ SLURM_JOB_CONSTRAINTS: '[rack1|rack2]&nvme*4' }).constraints).toEqual(['rack1', 'rack2', 'nvme', '4'])
  })

  test.each([
    [{ PBS_JOBID: '12[3].server', PBS_QUEUE: 'long' }, 'pbs:12[3].server', 'long'],
    [{ JOB_ID: '9', SGE_ROOT: '/sge', SGE_TASK_ID: '3', QUEUE: 'all.q' }, 'sge:9.3', 'all.q'],
    [{ JOB_ID: '9', SGE_ROOT: '/sge', SGE_TASK_ID: 'undefined' }, 'sge:9', undefined],
    [{ LSB_JOBID: '5', LSB_JOBINDEX: '7', LSB_QUEUE: 'normal' }, 'lsf:5.7', 'normal'],
  ])('%j: %s', (env, holder, partition) => {
    expect(jobOf(env, { user: 'alice' })).toMatchObject({ holder, user: 'alice', partition })
  })

  test('is named on the command line where the environment tells nothing, and refused where neither does', () => {
    expect(jobOf({}, { job: 'pbs:1.server', user: 'alice' })).toMatchObject({ holder: 'pbs:1.server', user: 'alice' })
    expect(() => jobOf({})).toThrow(/no job: none of SLURM_JOB_ID, .* is set/)
    expect(() => jobOf({ SLURM_JOB_ID: '1/../2' })).toThrow(/no job/)
    expect(() => jobOf({}, { job: 'slurm:../x', user: 'a' })).toThrow(/names no holder/)
  })

  test.skipIf(process.geteuid?.() !== 0)(
    'as root, a name that the user could have set is not taken for that of the user',
    () => {
      const env = { JOB_ID: '9', SGE_ROOT: '/sge', USER: 'bob', LOGNAME: 'bob' }
      expect(() => jobOf(env)).toThrow(/nothing that can be believed says whose job it is/)
    },
  )

  test('an unknown user is told', () => {
    expect(() => jobOf({}, { job: 'pbs:1', user: 'no-such-user-here' }).account()).toThrow(/knows no user no-such-user/)
    expect(jobOf({}, { job: 'pbs:1', user: 'root' }).account()).toEqual({ name: 'root', uid: 0, gid: 0 })
  })
})

describe('what it asks for', () => {
  test.each([
    ['conda-deploy=/shared/env.tar.zst', '/shared/env.tar.zst'],
    ['a note, conda-deploy=/shared/env.tar.zst; more', '/shared/env.tar.zst'],
    ['conda-deploy="/shared/my env.tar.zst" x', '/shared/my env.tar.zst'],
    ["conda-deploy='/shared/a,b.tar.zst'", '/shared/a,b.tar.zst'],
    ['conda-deploy=env.tar.zst', '/home/alice/run/env.tar.zst'],
    ['conda-deploy=../env.tar.zst', '/home/alice/env.tar.zst'],
    ['my-conda-deploy=/x', undefined],
    ['conda-deploy=', undefined],
    ['conda-deploy', undefined],
    ['', undefined],
  ])('the comment %j: %s', (comment, archive) => {
    expect(commented(comment)?.archive).toBe(archive)
  })

  test('is what its variable says, else its comment, else the first rule that fits', () => {
    const rules = [
      { user: ['bob'], archive: '/bob' },
      { partition: ['cpu', 'gpu'], constraint: 'big', archive: '/big' },
      { partition: ['gpu'], archive: '/gpu' },
    ]
    const asked = (more: Record<string, string>, env: Record<string, string> = {}) =>
      wantedBy(job(more), env, rules)?.archive
    expect(asked({})).toBe('/gpu')
    expect(asked({ SLURM_JOB_CONSTRAINTS: 'big&fast' })).toBe('/big')
    expect(asked({ SLURM_JOB_USER: 'bob' })).toBe('/bob')
    expect(asked({ SLURM_JOB_PARTITION: 'other' })).toBeUndefined()
    const comment = { SLURM_JOB_COMMENT: 'conda-deploy=/said' }
    expect(asked(comment)).toBe('/said')
    expect(asked(comment, { CONDA_DEPLOY_ENV: '/named' })).toBe('/named')
    expect(asked(comment, { SPANK_CONDA_DEPLOY_ENV: '/by-plugin' })).toBe('/by-plugin')
    expect(asked(comment, { CONDA_DEPLOY_ENV: '' })).toBe('/said')
    // A job that wants nothing gets nothing.
    expect(asked({ SLURM_JOB_COMMENT: 'conda-deploy=none' })).toBeUndefined()
    expect(asked(comment, { CONDA_DEPLOY_ENV: 'none' })).toBeUndefined()
    expect(namedIn({ CONDA_DEPLOY_ENV: 'none' }, job())).toBe('nothing')
    expect(namedIn({}, job())).toBeNull()
  })

  test('a path that means nothing is refused', () => {
    const elsewhere = jobOf({ PBS_JOBID: '1' }, { user: 'alice' })
    expect(() => wantedBy(elsewhere, { CONDA_DEPLOY_ENV: 'env.tar.zst' }, [])).toThrow(/not an absolute path/)
    expect(() => wantedBy(job(), { CONDA_DEPLOY_ENV: '/a\nexport X=1' }, [])).toThrow(/control characters/)
  })
})

/** Settings that spare a shared home folder. */
import { chmodSync, mkdirSync, statSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { readActivation } from '../../src/conda/activation.js'
import { type Spare, spares, sparing } from '../../src/conda/spare.js'
import { temporaryFolder } from '../support/temp.js'

const prefix = temporaryFolder('spare')
mkdirSync(join(prefix, 'share/terminfo'), { recursive: true })
const temp = temporaryFolder('spare-temp')
const now = { TMPDIR: temp }

const variables = async (
  what: readonly Spare[],
  env: Record<string, string> = now,
): Promise<Record<string, string>> => ({
  ...(await sparing(await readActivation(prefix), what, env)).variables,
})

test('nothing is set unless it is asked for', async () => {
  expect(await variables([])).toEqual({})
  expect(await variables(['user-site'])).toEqual({ PYTHONNOUSERSITE: '1' })
  expect(await variables(['bytecode'])).toEqual({ PYTHONDONTWRITEBYTECODE: '1' })
  expect(await variables(['terminfo'])).toEqual({ TERMINFO: join(prefix, 'share/terminfo') })
})

test('what is set already stays', async () => {
  const env = { ...now, PYTHONNOUSERSITE: '', TERMINFO: '/mine', MPLCONFIGDIR: '/mine' }
  const all = await variables(spares, env)
  for (const name of ['PYTHONNOUSERSITE', 'TERMINFO', 'MPLCONFIGDIR']) expect(all).not.toHaveProperty(name)
  expect(all['PYTHONDONTWRITEBYTECODE']).toBe('1')
})

test('caches lie in a folder that only the user can write', async () => {
  const all = await variables(['caches'])
  const folder = join(temp, `conda-deploy-caches-${process.getuid?.()}`)
  expect(Object.values(all).every((path) => path.startsWith(`${folder}/`))).toBe(true)
  expect(statSync(folder).mode & 0o777).toBe(0o700)
  // Again: the folder is there.
  expect(await variables(['caches'])).toEqual(all)
  chmodSync(folder, 0o777)
  await expect(variables(['caches'])).rejects.toMatchObject({ code: 'PERMISSION', path: folder })
  const other = temporaryFolder('spare-link')
  symlinkSync(folder, join(other, `conda-deploy-caches-${process.getuid?.()}`))
  await expect(variables(['caches'], { TMPDIR: other })).rejects.toMatchObject({ code: 'PERMISSION' })
})

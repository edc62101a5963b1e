import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { type Config, readConfig } from '../../src/conda/config.js'
import { temporaryFolder } from '../support/temp.js'

/** Reads it as a user whom modes stop. */
function readAsUser(home: string): Config {
  const user = process.geteuid?.()
  if (user === 0) process.seteuid?.(65_534)
  try {
    return readConfig({ HOME: home })
  } finally {
    if (user === 0) process.seteuid?.(0)
  }
}

function home(): string {
  const folder = temporaryFolder('config')
  chmodSync(folder, 0o755)
  mkdirSync(join(folder, '.conda/condarc.d'), { recursive: true })
  return folder
}

describe('a .condarc', () => {
  test('that may not be read is an error, as in conda: its channels and proxies would be missing', () => {
    const at = home()
    const file = join(at, '.condarc')
    writeFileSync(file, 'channels: [lab]\n')
    expect(readAsUser(at).channels).toEqual(['lab'])
    chmodSync(file, 0)
    expect(() => readAsUser(at)).toThrow(expect.objectContaining({ code: 'PERMISSION', path: file }))
  })

  test('in a folder of which the names may not be read is one too', () => {
    const at = home()
    const folder = join(at, '.conda/condarc.d')
    chmodSync(folder, 0o311)
    try {
      expect(() => readAsUser(at)).toThrow(expect.objectContaining({ code: 'PERMISSION', path: folder }))
    } finally {
      chmodSync(folder, 0o755)
    }
  })

  test('behind a folder that is closed is passed over, as in conda: nobody can say that it is there', () => {
    const at = home()
    writeFileSync(join(at, '.conda/condarc'), 'channels: [lab]\n')
    chmodSync(join(at, '.conda'), 0)
    try {
      expect(readAsUser(at).channels).toEqual([])
    } finally {
      chmodSync(join(at, '.conda'), 0o755)
    }
  })
})

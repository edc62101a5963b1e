/** Folders that tests write in: beneath the system's temporary folder, removed at the end whatever modes were set in them. */
import { chmodSync, lstatSync, mkdtempSync, readdirSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'

const made: string[] = []
// Here and not where a folder is made: inside a running test no hook can be added any more.
afterAll(() => made.splice(0).forEach(removeTree))

/** A new empty folder, by its true path; removed after the tests of the file that asks for it. */
export function temporaryFolder(label = 'test'): string {
  const path = realpathSync(mkdtempSync(join(tmpdir(), `conda-deploy-${label}-`)))
  made.push(path)
  return path
}

/** Removes a tree of which folders may be read-only. */
export function removeTree(path: string): void {
  if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return
  unlock(path)
  rmSync(path, { recursive: true, force: true })
}

function unlock(path: string): void {
  if (!lstatSync(path).isDirectory()) return
  chmodSync(path, 0o700)
  for (const entry of readdirSync(path, { withFileTypes: true }))
    if (entry.isDirectory()) unlock(join(path, entry.name))
}

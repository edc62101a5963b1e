import { existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { makeFolders } from '../../src/tree/folders.js'
import { temporaryFolder } from '../support/temp.js'

const folder = temporaryFolder('folders')

test('folders are made with their parents, and the topmost one is told', () => {
  expect(makeFolders(join(folder, 'a/b/c'))).toBe(join(folder, 'a'))
  expect(makeFolders(join(folder, 'a/b/d'))).toBe(join(folder, 'a/b/d'))
  expect(makeFolders(join(folder, 'a/b/d'))).toBeUndefined()
  expect(readdirSync(join(folder, 'a/b'))).toEqual(['c', 'd'])
})

test('links to folders are followed; files and dangling links in the way are told', () => {
  mkdirSync(join(folder, 'real'))
  symlinkSync('real', join(folder, 'link'))
  symlinkSync('nowhere', join(folder, 'dangling'))
  writeFileSync(join(folder, 'file'), '')
  expect(makeFolders(join(folder, 'link/x'))).toBe(join(folder, 'link/x'))
  expect(existsSync(join(folder, 'real/x'))).toBe(true)
  expect(() => makeFolders(join(folder, 'file'))).toThrow(/EEXIST/)
  expect(() => makeFolders(join(folder, 'file/x'))).toThrow(/: not a directory/)
  expect(() => makeFolders(join(folder, 'dangling'))).toThrow(/EEXIST/)
})

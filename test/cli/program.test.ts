/** Which commands are made for a line: those it may mean, and for help all. */
import { expect, test } from 'vitest'
import type { Session } from '../../src/cli/common.js'
import { makeProgram } from '../../src/cli/program.js'
import { Terminal } from '../../src/cli/terminal.js'

const session: Session = {
  terminal: new Terminal(() => ({})),
  signal: new AbortController().signal,
  release() {},
  status: 0,
}

async function made(...words: readonly string[]): Promise<string[]> {
  const program = await makeProgram(['node', 'conda-deploy', ...words], session)
  return program.commands.map((command) => command.name())
}

test('every command is made when it is named, wherever in the line', async () => {
  const all = await made('--help')
  expect(all.length).toBeGreaterThan(25)
  for (const name of all) {
    expect(await made(name)).toContain(name)
    expect(await made('--threads', '2', name, '-q')).toContain(name)
  }
})

test('an archive needs deploy alone, whatever its program is called', async () => {
  expect(await made('/shared/env.tar.zst', '--to', '/scratch/env')).toEqual(['deploy'])
  expect(await made('run', '/shared/env.tar.zst', '--', 'pack', '--help')).toEqual(['deploy', 'run'])
})

test('all are made for help', async () => {
  const all = await made('help')
  for (const line of [['-h'], ['-qh'], ['help', 'pack'], ['pack', '--help']]) expect(await made(...line)).toEqual(all)
})

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { type RunOptions, run } from '../../src/deploy/run.js'
import { temporaryFolder } from '../support/temp.js'
import { start } from './child.js'
import { writeSample } from './sample.js'

const work = temporaryFolder('run')
const archive = join(work, 'sample.tar.zst')
const to = join(work, 'env')

beforeAll(async () => {
  // Its program does what its arguments say.
  await writeSample(archive, { program: 'eval "$*"' })
})

const hello = (...words: string[]): RunOptions => ({ archive, to, command: ['hello', ...words] })

describe('a program', () => {
  test('ends with its own status', async () => {
    expect(await run(hello('exit 7'))).toMatchObject({
      status: 7,
      signal: null,
      deployment: { prefix: to },
      warnings: [],
    })
    expect(await run(hello('exit 0'))).toMatchObject({ status: 0, signal: null, deployment: { method: 'adopted' } })
  })

  test('ends with its own signal', async () => {
    expect(await run(hello('kill -USR1 $$'))).toMatchObject({ status: null, signal: 'SIGUSR1' })
  })

  test('has the environment that activation makes', async () => {
    const seen = join(work, 'seen')
    await run(hello(`printf '%s\\n' "$CONDA_PREFIX" "$CONDA_DEFAULT_ENV" "\${PATH%%:*}" > '${seen}'`))
    expect(readFileSync(seen, 'utf8').split('\n').slice(0, 3)).toEqual([to, to, `${to}/bin`])
  })

  test('has the settings that spare the home folder, where they are asked for', async () => {
    const seen = join(work, 'spared')
    const said = async (options: Partial<RunOptions>): Promise<string> => {
      await run({ ...hello(`echo "<$PYTHONNOUSERSITE>" > '${seen}'`), ...options })
      return readFileSync(seen, 'utf8').trim()
    }
    expect(await said({})).toBe('<>')
    expect(await said({ spare: ['user-site'] })).toBe('<1>')
    const wrong = said({ spare: ['usersite' as 'user-site'] })
    await expect(wrong).rejects.toThrow("option 'spare' knows user-site, bytecode, terminfo, caches, got usersite")
  })

  test('as shells say it: 127 where there is none, 126 where there is something that cannot be executed', async () => {
    await expect(run({ archive, to, command: ['no-such-program'] })).rejects.toMatchObject({
      code: 'COMMAND_NOT_FOUND',
      exitStatus: 127,
    })
    await expect(run({ archive, to, command: [join(to, 'no-such-program')] })).rejects.toMatchObject({
      exitStatus: 127,
    })
    const script = join(work, 'script')
    writeFileSync(script, '#!/no/such/interpreter\n', { mode: 0o755 })
    for (const program of [join(to, 'etc/kept'), '/etc/passwd', '/etc', script])
      await expect(run({ archive, to, command: [program] })).rejects.toMatchObject({
        code: 'COMMAND_NOT_EXECUTABLE',
        exitStatus: 126,
      })
  })

  test('is ended by an abort', async () => {
    const controller = new AbortController()
    const onStart = (): void => void setTimeout(() => controller.abort(), 20)
    const result = await run({ ...hello('exec sleep 20'), signal: controller.signal, onStart })
    expect(result).toMatchObject({ status: null, signal: 'SIGTERM' })
  })
})

test.each(['SIGTERM', 'SIGUSR1', 'SIGINT', 'SIGHUP'] as const)(
  '%s to this process is handed to the program',
  async (name) => {
    const trap = `trap 'exit 42' ${name.slice(3)}; i=0; while [ $i -lt 200 ]; do sleep 0.05; i=$((i+1)); done`
    const child = start('run', hello(trap), (line, process) => {
      if (line.pid !== undefined) setTimeout(() => process.kill(name), 100)
    })
    const lines = await child.ended
    expect(lines.at(-1)?.result).toMatchObject({ status: 42, signal: null })
  },
)

test("case 21: an archive cannot come from standard input, which is the program's", async () => {
  await expect(run({ archive: '-', command: ['true'] })).rejects.toMatchObject({ code: 'INVALID_OPTION' })
})

test('options are checked', async () => {
  for (const command of [[], [''], 'hello', [1], undefined])
    await expect(run({ archive, to, command } as RunOptions)).rejects.toMatchObject({ code: 'INVALID_OPTION' })
  const wrong = { ...hello('true'), onstart: () => {} } as RunOptions
  await expect(run(wrong)).rejects.toMatchObject({ code: 'INVALID_OPTION' })
})

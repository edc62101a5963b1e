/**
 * Python files compiled by the python of an environment, one process a core. It runs from wherever its package stands unpacked: it
 * needs no environment around it.
 */
import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import { getSystemErrorMap } from 'node:util'
import { EnvError, fromSystem } from '../errors.js'

export interface Source {
  /** The Python file. */
  readonly path: string
  /** What stands in the compiled code as its file's name. */
  readonly name: string
  /** The `.pyc`, which must not exist; its folder is made. */
  readonly target: string
}

export interface Compiling {
  /** Folders of libraries that this python may need. */
  readonly libraries?: readonly string[] | undefined
  readonly threads: number
  readonly signal?: AbortSignal | undefined
}

/**
 * What the python runs. Three texts a file come on stdin, each closed by a NUL; a line on stdout tells of each that failed: its number,
 * and the number of a system error, 0 for what is no Python of this version. The workers take numbers from one pipe, so that all end at
 * the same time; it closes with the process that fills it. Only modules that are part of the interpreter are imported, and each file is
 * compiled as if it were the first: the same code gives the same bytes, whatever was compiled before it. The time of a source becomes that of its
 * `.pyc`.
 */
const program = `
import sys, gc, posix, _frozen_importlib_external as external
texts = sys.stdin.buffer.read().split(b'\\0')
files = [texts[i:i + 3] for i in range(0, len(texts) - 1, 3)]
failed = lambda number, error: posix.write(1, b'%d %d\\n' % (number, error))
folders = set()
for number, (_, _, target) in enumerate(files):
    end = len(target)
    missing = []
    while True:
        end = target.rindex(b'/', 0, end)
        if end == 0 or target[:end] in folders:
            break
        folders.add(target[:end])
        missing.append(target[:end])
        try:
            if posix.lstat(target[:end]).st_mode & 0o170000 == 0o040000:
                missing.pop()
                break
        except OSError:
            pass
    for folder in reversed(missing):
        try:
            posix.mkdir(folder)
        except OSError as error:
            failed(number, error.errno)
to_pyc = getattr(external, '_code_to_timestamp_pyc', None) or external._code_to_bytecode # before 3.7
def compiled(source, name, target):
    fd = posix.open(source, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        stat = posix.fstat(fd)
        with open(fd, 'rb', closefd=False) as file:
            data = file.read()
    finally:
        posix.close(fd)
    code = compile(data, name.decode('utf-8', 'surrogateescape'), 'exec', dont_inherit=True, optimize=0)
    data = memoryview(to_pyc(code, int(stat.st_mtime), stat.st_size))
    flags = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_NOFOLLOW | posix.O_CLOEXEC
    fd = posix.open(target, flags, stat.st_mode & 0o666 | 0o200)
    try:
        while data:
            data = data[posix.write(fd, data):]
        posix.utime(fd, ns=(stat.st_mtime_ns, stat.st_mtime_ns))
    finally:
        posix.close(fd)
def work(numbers):
    gc.disable()
    while True:
        number = int.from_bytes(posix.read(numbers, 4), 'little')
        if number == 0:
            return
        try:
            compiled(*files[number - 1])
        except OSError as error:
            failed(number - 1, error.errno)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            failed(number - 1, 0)
numbers, fill = posix.pipe()
workers = []
for _ in range(int(sys.argv[1])):
    worker = posix.fork()
    if worker == 0:
        posix.close(fill)
        work(numbers)
        posix._exit(0)
    workers.append(worker)
posix.close(numbers)
for number in range(len(files)):
    posix.write(fill, (number + 1).to_bytes(4, 'little'))
posix.close(fill)
posix._exit(int(any(posix.waitpid(worker, 0)[1] for worker in workers)))
`

/**
 * The numbers of files that this python could not compile. Throws NO_SPACE, PERMISSION, IO for files that could not be read or written,
 * CANCELLED, and a plain Error where the python does not run; then some of the targets may be there.
 */
export async function compileFiles(
  python: string,
  sources: readonly Source[],
  { libraries = [], threads, signal }: Compiling,
): Promise<ReadonlySet<number>> {
  const said = await run(
    python,
    sources.flatMap(({ path, name, target }) => [path, name, target]),
    {
      libraries,
      signal,
      workers: Math.min(threads, sources.length),
    },
  )
  const wrong = new Set<number>()
  for (const line of said.split('\n').filter((one) => one !== '')) {
    const [number = Number.NaN, errno = Number.NaN] = line.split(' ').map(Number)
    const source = sources[number]
    if (source === undefined) throw new Error(`an unexpected answer: ${line}`)
    if (errno === 0 || errno === constants.errno.ENOENT) wrong.add(number)
    else {
      const text = getSystemErrorMap().get(-errno)?.[1] ?? `system error ${errno}`
      const error = Object.assign(new Error(text), { errno: -errno })
      throw fromSystem(error, 'cannot compile', source.target)
    }
  }
  return wrong
}

async function run(
  python: string,
  texts: readonly string[],
  { libraries, signal, workers }: { libraries: readonly string[]; signal: AbortSignal | undefined; workers: number },
): Promise<string> {
  // Nothing of this user's, or of another environment's, has a say in it.
  const args = ['-I', '-S', '-E', '-B', '-W', 'ignore', '-c', program, String(workers)]
  const env = { PATH: '/usr/bin:/bin', HOME: '/nonexistent', LANG: 'C.UTF-8', LD_LIBRARY_PATH: libraries.join(':') }
  const child = spawn(python, args, { cwd: '/', env, stdio: ['pipe', 'pipe', 'pipe'] })
  const stop = (): void => void child.kill('SIGKILL')
  signal?.addEventListener('abort', stop, { once: true })
  const said = { stdout: '', stderr: '' }
  try {
    const ended = new Promise<string | null>((done, failed) => {
      child.on('error', failed)
      child.on('close', (status, killed) => done(status === 0 ? null : (killed ?? `exit status ${status}`)))
    })
    child.stdin.on('error', () => undefined) // What ended it is told by its status.
    for (const stream of ['stdout', 'stderr'] as const)
      child[stream].setEncoding('utf8').on('data', (text: string) => {
        said[stream] += text
      })
    child.stdin.end(texts.map((text) => `${text}\0`).join(''))
    const wrong = await ended
    if (signal?.aborted) throw new EnvError('CANCELLED', 'cancelled', { cause: signal.reason })
    if (wrong === null) return said.stdout
    throw new Error([`${python}: ${wrong}`, said.stderr.trim().split('\n').at(-1)].filter(Boolean).join(': '))
  } finally {
    signal?.removeEventListener('abort', stop)
  }
}

/** squashfs by mksquashfs, which reads a tar: no folder is staged. The same bytes whatever the threads and the time. */
import { startTool, type Tool } from './tool.js'

const mksquashfs: Tool = { command: 'mksquashfs', package: 'squashfs-tools (4.5 or newer)' }

export interface SquashfsOptions {
  /** As conda-pack has it: 0 stores, 1 to 8 are zstd from 2 to 20, 9 is xz. */
  readonly level: number
  readonly threads: number
  /** Of the newest file, in seconds: the time of the file system itself. */
  readonly time: number
  readonly signal: AbortSignal | undefined
}

function compression(level: number): string[] {
  if (level === 0) return ['-noI', '-noD', '-noF', '-noX']
  if (level === 9) return ['-comp', 'xz', '-b', '256K']
  return ['-comp', 'zstd', '-Xcompression-level', `${Math.floor((level / 8) * 20)}`, '-b', '256K']
}

/** Makes the file `output` of the tar in the descriptor `tar`, which the caller closes after this returned. */
export function writeSquashfs(tar: number, output: string, options: SquashfsOptions): Promise<void> {
  const fixed = ['-tar', '-noappend', '-no-progress', '-quiet', '-no-exports']
  const owner = ['-all-root', '-root-mode', '0755', '-root-uid', '0', '-root-gid', '0']
  const args = ['-', output, ...fixed, ...owner, '-processors', String(options.threads), ...compression(options.level)]
  return startTool(mksquashfs, args, {
    stdio: [tar, 'ignore', 'pipe'],
    // No time is later than this one, which alone makes the present time appear nowhere (-mkfs-time of 4.5 leaves some).
    env: { ...process.env, SOURCE_DATE_EPOCH: String(Math.max(0, options.time)) },
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  }).ended
}

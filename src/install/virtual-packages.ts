/**
 * What packages may ask of the system they run on: `__glibc`, `__linux`, `__cuda`, … Detected, or as `CONDA_OVERRIDE_*` says, so that one
 * may solve for another machine. https://docs.conda.io/projects/conda/en/stable/user-guide/tasks/manage-virtual.html
 */
import { readFileSync } from 'node:fs'
import { arch, platform, release } from 'node:os'
import { native } from '../native.js'
import type { VirtualPackage } from './solver.js'

export type Variables = Readonly<Record<string, string | undefined>>

/** conda's name for this machine, e.g. `linux-64`. */
export function thisPlatform(): string {
  const systems: Readonly<Record<string, string>> = { linux: 'linux', darwin: 'osx', win32: 'win', freebsd: 'freebsd' }
  const machines: Readonly<Record<string, string>> = {
    x64: '64',
    ia32: '32',
    arm64: platform() === 'linux' ? 'aarch64' : 'arm64',
  }
  return `${systems[platform()] ?? platform()}-${machines[arch()] ?? arch()}`
}

/** An override that is empty takes the package away. */
export function virtualPackages(target: string, variables: Variables = process.env): VirtualPackage[] {
  const here = target === thisPlatform()
  const found: VirtualPackage[] = []
  const add = (name: string, detected: string | null, build = '0'): void => {
    const override = variables[`CONDA_OVERRIDE_${name.toUpperCase()}`]
    const version = override ?? detected
    if (version !== null && version !== '') found.push({ name: `__${name}`, version, build })
  }
  const [system = '', machine = ''] = target.split('-')
  if (system === 'linux') add('linux', here ? numbers(release()) : '0')
  if (system === 'osx') add('osx', here ? null : '11.0')
  if (system === 'linux') add('glibc', here ? native().features().glibc : '2.28')
  if (system === 'win') add('win', '0')
  else found.push({ name: '__unix', version: '0', build: '0' })
  add('cuda', here ? cudaVersion() : null)
  const build = variables['CONDA_OVERRIDE_ARCHSPEC'] ?? (machine === '64' ? 'x86_64' : machine)
  if (build !== '') found.push({ name: '__archspec', version: '1', build })
  return found
}

const numbers = (text: string): string => /^\d+(\.\d+)*/.exec(text)?.[0] ?? '0'

/** The newest CUDA that the driver supports; it says so only through its library, whose file name has its own version. */
function cudaVersion(): string | null {
  try {
    return /CUDA Version:\s*([\d.]+)/.exec(readFileSync('/proc/driver/nvidia/version', 'utf8'))?.[1] ?? null
  } catch {
    // No driver, no CUDA.
    return null
  }
}

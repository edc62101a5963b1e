import { statfsSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { fileSystemOf, localityOf, mountOf, nearestExisting, parseMounts } from '../../src/tree/file-system.js'
import { temporaryFolder } from '../support/temp.js'

const FUSE = 0x65735546

/** As a node of a cluster shows it; mount points with blanks are escaped. */
const mountinfo = `
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:25 / /tmp rw,nosuid,nodev,noexec - tmpfs tmpfs rw,size=1g
31 22 0:30 / /scratch\\040space rw - xfs /dev/sdb ro,noquota
32 22 0:44 / /lustre rw master:1 propagate_from:2 - lustre 10.0.0.1@o2ib:/fs rw
33 32 0:45 / /lustre/local rw - ext4 /dev/loop0 rw
34 30 0:46 / /tmp rw - tmpfs private rw
35 22 0:47 / /home/alice/remote rw - fuse.sshfs alice@host: rw
`.trim()

describe('mounts', () => {
  const mounts = parseMounts(mountinfo)
  const typeAt = (path: string) => mountOf(mounts, path)?.type

  test('are found by the longest mount point that holds a path', () => {
    expect(typeAt('/usr/lib')).toBe('ext4')
    expect(typeAt('/lustre')).toBe('lustre')
    expect(typeAt('/lustre/project')).toBe('lustre')
    expect(typeAt('/lustrelike')).toBe('ext4')
    expect(typeAt('/lustre/local/deep')).toBe('ext4')
    expect(typeAt('/home/alice/remote/x')).toBe('fuse.sshfs')
  })

  test('that stand on one point hide each other', () => {
    expect(mountOf(mounts, '/tmp/x')?.options).not.toContain('noexec')
  })

  test('have the options of the mount and of the file system, and unescaped names', () => {
    expect(mountOf(mounts, '/scratch space/a')).toMatchObject({ type: 'xfs', options: ['rw', 'ro', 'noquota'] })
  })
})

describe('locality', () => {
  test.each([
    [0xef53, 'ext4', 'local'],
    [0x58465342, 'xfs', 'local'],
    [0x01021994, 'tmpfs', 'memory'],
    [0x0bd00bd0, 'lustre', 'shared'],
    [0x19830326, 'beegfs', 'shared'],
    [0x47504653, 'gpfs', 'shared'],
    [0x6969, 'nfs4', 'shared'],
    [0xfe534d42, 'cifs', 'shared'],
    [FUSE, 'fuse.sshfs', 'shared'],
    [FUSE, 'virtiofs', 'shared'],
    [FUSE, undefined, 'shared'],
    [FUSE, 'fuseblk', 'local'],
    [FUSE, 'fuse.fuse-overlayfs', 'local'],
    [0x12345678, 'wekafs', 'shared'],
    [0x12345678, 'newfs', 'unknown'],
    // The number decides: a bind mount that covers another can make mountinfo tell of the wrong one.
    [0x0bd00bd0, 'ext4', 'shared'],
  ] as const)('of magic %d, type %s is %s', (magic, type, locality) => {
    expect(localityOf(magic, type)).toBe(locality)
  })
})

describe('this machine', () => {
  const folder = temporaryFolder('fs')

  test('tells type and room of a folder', async () => {
    const { bsize, bavail } = statfsSync(folder)
    const found = await fileSystemOf(folder)
    expect(found).toMatchObject({ block: bsize, readOnly: false })
    expect(Math.abs(found.freeBytes - bavail * bsize)).toBeLessThan(1 << 30)
    if (process.platform === 'linux') expect(found.type).toMatch(/^[a-z][\w.]*$/)
  })

  test('the nearest existing parent stands for what is not there yet', async () => {
    expect(await nearestExisting(`${folder}/a/b/c`)).toBe(folder)
    expect(await nearestExisting('/no-such-folder-at-all/x')).toBe('/')
  })
})

import { existsSync } from 'node:fs'
import type { Trial } from '../contender.js'
import { deploy, verify } from '../contenders/ours.js'
import { sha256sum } from '../contenders/tar.js'
import { sh } from '../lab.js'

export const verifyTrial: Trial = {
  name: 'verify',
  title: 'hashing a deployed environment again',
  contenders: [verify, sha256sum],
  floor: [],
  before(lab) {
    if (!existsSync(`${lab.work}/deployed`)) sh(deploy.command(lab, `${lab.work}/deployed`))
  },
}

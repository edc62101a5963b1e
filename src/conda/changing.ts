/** What stands in an environment while it is made, changed or updated, and after that was killed; and how that is said. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { EnvError } from '../errors.js'
import { journalName } from '../tree/journal-name.js'

/** File in `conda-meta` of an environment that `create` has not ended: pip is at work there, or was when it was killed. */
export const unfinishedMark = '.conda-deploy-unfinished'

/** In `conda-meta`. */
export const changeName = '.conda-deploy'

/** There while `install`, `update` and `remove` change an environment, and after one of them was killed; and the lock of who does. */
export const changeFolder: string = `conda-meta/${changeName}`
export const changeLock: string = `${changeFolder}.lock`

/** There while a deployment is updated from a newer archive, and after that was killed. */
export const updateFolder = '.conda-deploy/change'

/** Do names in it change places, or did when that was killed? */
export const isChanging = (prefix: string): boolean => existsSync(join(prefix, changeFolder, journalName))

/** The same, because a deployment is updated? */
export const isUpdating = (prefix: string): boolean => existsSync(join(prefix, updateFolder, journalName))

export const unfinished = (prefix: string): EnvError =>
  new EnvError('ENV_DAMAGED', `${prefix} is not whole: pip is at work in it, or was when it was killed`, {
    path: prefix,
    hint: 'wait for the other conda-deploy; if there is none any more, create the environment again',
  })

export const inChange = (prefix: string): EnvError =>
  new EnvError('ENV_DAMAGED', `${prefix} is being changed, or was left in the midst of a change`, {
    path: prefix,
    hint: `wait for the other conda-deploy; if there is none any more: conda-deploy repair -p ${prefix}`,
  })

export const inUpdate = (prefix: string): EnvError =>
  new EnvError('ENV_DAMAGED', `${prefix} is being updated, or was left in the midst of an update`, {
    path: prefix,
    hint: `wait for the other conda-deploy; if there is none any more: conda-deploy ARCHIVE --to ${prefix} --update`,
  })

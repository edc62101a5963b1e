/** `conda-deploy slurm install`: for administrators. */
import type { Command } from 'commander'
import { EnvError } from '../../errors.js'
import { example, type Globals, type Session } from '../common.js'

interface Flags extends Globals {
  readonly to?: string
  readonly policy?: string
  readonly root?: string
  readonly strict?: boolean
  readonly force?: boolean
  readonly dryRun?: boolean
}

export function addSlurm(program: Command, session: Session): void {
  const slurm = program
    .command('slurm')
    .summary('for administrators: the files that a Slurm cluster needs')
    .description('For administrators: the files that a Slurm cluster needs.')
  example(slurm, 'conda-deploy slurm install --dry-run')
  const command = slurm
    .command('install')
    .summary('write prolog, epilog, task prolog, policy and lines for slurm.conf')
    .description(
      'Write the files of a site, with comments that say who runs them, as whom, how long, and what happens if they fail. Nothing is changed ' +
        'outside of the folder that is named, and Slurm is not told: that is for you.',
    )
    .option('--to <dir>', 'the folder, the same one on all nodes (/etc/slurm)')
    .option('--root <dir>', 'local disk of the nodes, for the policy that is written (default: /scratch)')
    .option('--policy <file>', 'where the policy will stand on the nodes (default: /etc/conda-deploy.yaml)')
    .option('--strict', 'hooks that end with a status other than 0 when they fail')
    .option('--force', 'replace files that are there with another content; a policy is always kept')
    .option('--dry-run', 'print the files, and write nothing')
  example(command, 'conda-deploy slurm install --dry-run', 'conda-deploy slurm install --to /etc/slurm --root /scratch')
  command.action(async (_: unknown, self: Command) => {
    const { to, root, policy, strict, force, dryRun } = self.optsWithGlobals<Flags>()
    if (to === undefined && dryRun !== true) {
      const hint = 'name the folder with --to DIR, or see what would be written with --dry-run'
      throw new EnvError('USAGE', 'slurm install: no folder is named', { hint })
    }
    const { slurmInstall } = await import('../../slurm/install.js')
    const result = await slurmInstall({ to: to ?? '/etc/slurm', root, policy, strict, force, dryRun })
    const told = result.files.map(({ path, mode, did, text }) =>
      dryRun === true
        ? `==> ${path} (mode ${mode}${did === 'written' ? '' : `, ${did}`}) <==\n${text}`
        : `${did} ${path}`,
    )
    session.terminal.result(result, told.join('\n').trimEnd())
  })
}

/** The files that an administrator installs for Slurm, as texts with comments. Pure. */
import type { JobsPolicy } from '../deploy/cache/policy.js'
import { version } from '../version.js'

export interface Site {
  /** The command that starts conda-deploy, by whole paths. */
  readonly command: readonly [string, ...string[]]
  /** The policy file on the nodes. */
  readonly policy: string
  /** Whether the hooks have to be told its name. */
  readonly policyIsElsewhere: boolean
  readonly jobs: JobsPolicy
  /** Where the files will stand on the nodes. */
  readonly folder: string
  /** Local disk of the nodes. */
  readonly root: string
  /** A failed prolog or task prolog shall be one for Slurm too. */
  readonly strict: boolean
}

export interface SiteFile {
  /** Beneath the folder. */
  readonly name: string
  readonly mode: number
  readonly text: string
}

export function siteFiles(site: Site): SiteFile[] {
  return [
    { name: 'conda-deploy.yaml', mode: 0o644, text: policyText(site) },
    { name: 'prolog.d/50-conda-deploy', mode: 0o755, text: prologText(site) },
    { name: 'epilog.d/50-conda-deploy', mode: 0o755, text: epilogText(site) },
    { name: 'task-prolog', mode: 0o755, text: taskPrologText(site) },
    { name: 'slurm.conf.conda-deploy', mode: 0o644, text: configurationText(site) },
  ]
}

const quoted = (word: string): string => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`)

const comment = (text: string): string =>
  text
    .trim()
    .split('\n')
    .map((line) => `# ${line}`.trimEnd())
    .join('\n')

const written = `Written by: conda-deploy slurm install (version ${version}). Yours to change.`

/** The line that calls a hook. */
function call({ command, policy, policyIsElsewhere, strict }: Site, hook: string): string {
  const words = [...command, hook, ...(policyIsElsewhere ? ['--policy', policy] : []), ...(strict ? ['--strict'] : [])]
  return words.map(quoted).join(' ')
}

/** Slurm keeps nothing of what a hook says that ends with 0. */
const logged = (line: string): string =>
  `if [ -x /usr/bin/logger ]; then\n  ${line} 2>&1 >/dev/null | /usr/bin/logger -t conda-deploy\nelse\n  ${line}\nfi`

/** Slurm takes a hook that cannot even start for a failed one. */
const whereItIs = ({ command }: Site): string => command.map((path) => `[ -r ${quoted(path)} ]`).join(' && ')

function prologText(site: Site): string {
  const { policy, jobs, strict } = site
  const about = `
conda-deploy, prolog: puts the conda environment of a job onto this node before the job starts.
${written}

Who runs it   slurmd, as root, on each node of a job (slurm.conf: Prolog=; with PrologFlags=Alloc as soon as the node is
              allocated, else before the first step). Slurm gives it no PATH, no HOME and nothing of the job's environment.
For whom      for jobs that ask: sbatch --comment conda-deploy=/path/of/archive.tar.zst, or by a rule in ${policy}.
              For all others it looks at its variables and the policy, and ends (about 0.1 s of one core).
As whom       root opens nothing by a name that a user gave. A process of the job's user, with that user's groups, opens the archive
              and fills the user's own cache. With 'shared: true' in the policy, root opens the archive with the rights of the user,
              and what becomes of it is compared, file by file, with the checksums that its name is made of.
How long      at most 'jobs.timeout' of the policy (now ${jobs.timeout} s) and 5 s to clear away what it half made. Keep
              PrologEpilogTimeout of slurm.conf above that: a prolog that Slurm has to end drains the node.
If it fails   ${strict ? 'it ends with a status other than 0 (--strict): Slurm drains the node and requeues the job, held.' : 'the job starts all the same, without the environment, and its output says why. Status 0: the node stays up.\n              Add --strict below to make Slurm drain the node and hold the job instead.'}
What it keeps a note to a job in ${jobs.state}, which the epilog removes; copies in the cache, as the policy says.
job_container prologs run outside of a job's private /tmp and /dev/shm: choose another 'cache.root' in the policy, one that
              job_container.conf does not name in Dirs=.
`
  return `#!/bin/sh
${comment(about)}
PATH=/usr/bin:/bin
export PATH
${whereItIs(site)} || exit 0
${strict ? call(site, 'prolog') : `${logged(call(site, 'prolog'))}\nexit 0`}
`
}

function epilogText(site: Site): string {
  const { jobs } = site
  const about = `
conda-deploy, epilog: gives back what a job held on this node, and makes the cache as small as the policy wants it.
${written}

Who runs it   slurmd, as root, on each node of a job when it has ended, however it ended (slurm.conf: Epilog=).
What it does  removes the note of the prolog from ${jobs.state}; gives back the leases of this job, in the cache of its user and
              in that of all users; removes deployments that nobody holds and no process uses, by age and size as the policy says.
              It follows no link that a user made, and removes nothing but what conda-deploy has marked as its own.
If it fails   the status is 0 in any case: a failed epilog would drain the node. What it has to say is in the system log, as
              conda-deploy, and a lease that was not given back ends by itself ('cache.leaseAge' of the policy).
`
  return `#!/bin/sh
${comment(about)}
PATH=/usr/bin:/bin
export PATH
${whereItIs(site)} || exit 0
${logged(call({ ...site, strict: false }, 'epilog'))}
exit 0
`
}

function taskPrologText(site: Site): string {
  const { jobs, strict } = site
  const about = `
conda-deploy, task prolog: starts tasks in the environment of their job, without a line in the job's script.
${written}

Who runs it   slurmstepd, as the job's user, before each task and before the batch script (slurm.conf: TaskProlog=), inside of the
              job's namespaces (job_container) and with the job's variables.
What it does  prints 'export NAME=value', 'unset NAME' and 'print text', which Slurm applies to the task. A value with a line break
              cannot be said that way: it is left out, and a 'print' line names it.
For whom      tasks for which the prolog left a note in ${jobs.state}, and jobs that name an archive themselves:
              sbatch --export=ALL,CONDA_DEPLOY_ENV=/path/of/archive.tar.zst (CONDA_DEPLOY_ENV=none: nothing, whatever the policy
              says). That works without any prolog: the first task of a node deploys, in the job's time; the others wait for it.
              For all other tasks it ends after the first line below.
If it fails   ${strict ? 'the status is not 0 (--strict): Slurm does not start the task.' : 'the task starts without the environment, and its output says why. Status 0: another one would end the task.\n              Add --strict below if your users would rather have that.'}
Another one   Slurm knows one TaskProlog: if you have one, call this file from it; their lines add up.
`
  return `#!/bin/sh
${comment(about)}
[ -n "\${CONDA_DEPLOY_ENV-}" ] || [ -e ${quoted(jobs.state)}/slurm:"\${SLURM_JOB_ID-}" ] || exit 0
if ${whereItIs(site)}; then
  ${call(site, 'task-prolog')}${strict ? '' : ' || echo "print conda-deploy: the task prolog ended with status $?: no environment is activated"'}
else
  echo 'print conda-deploy: it is not installed on this node: no environment is activated'${strict ? '\n  exit 1' : ''}
fi${strict ? '' : '\nexit 0'}
`
}

function configurationText(site: Site): string {
  const { folder, jobs } = site
  const about = `
conda-deploy: lines for slurm.conf. ${written}
Prolog and Epilog may be patterns: other files of the folders run too, from the last name to the first.
`
  return `${comment(about)}
PrologFlags=Alloc
Prolog=${folder}/prolog.d/*
Epilog=${folder}/epilog.d/*
TaskProlog=${folder}/task-prolog
${comment(`More than jobs.timeout of the policy (${jobs.timeout} s), with 10 s to spare.`)}
PrologEpilogTimeout=${Math.ceil(jobs.timeout) + 60}
`
}

function policyText({ policy, jobs, root }: Site): string {
  const about = `
conda-deploy: policy of this site. ${written}
It is read as ${policy} on each node, and believed only if root owns it and nobody else can write it.
Spans are written 90s, 30m, 12h, 14d; sizes 50G, 500M. An unknown key is an error, not a surprise.
`
  return `${comment(about)}
cache:
  # Local disk of the node, where all users may make files (mode 1777, as /tmp). Copies stand in conda-deploy-UID beneath it. Keep
  # the path short: it becomes part of every prefix. Not /tmp or /dev/shm where job_container/tmpfs gives each job its own: prologs
  # and epilogs run outside of them.
  root: ${JSON.stringify(root)}
  # One copy for all users of the node, in conda-deploy-shared beneath the root, which only root fills: from archives that conda-deploy
  # packed and that everybody may read. Everybody may read the copies.
  # shared: true
  # Copies that no job holds and no process uses go, the one that was used longest ago first:
  maxAge: 14d
  # maxBytes: 100G
  # maxInodes: 2000000
  # minFree: 20G

jobs:
  # Seconds that a prolog may take, as a span. Below PrologEpilogTimeout of slurm.conf.
  timeout: ${jobs.timeout}s
  # Where prologs leave their notes: a folder of root, best in memory, the same inside and outside of jobs. task-prolog names it
  # too: after a change here write it again with slurm install --force.
  state: ${JSON.stringify(jobs.state)}
  # What jobs get that ask for nothing. The first rule that fits counts; user and partition may be lists.
  # rules:
  #   - { partition: teaching, archive: /shared/envs/course.tar.zst }
  #   - { constraint: pytorch, archive: /shared/envs/pytorch.tar.zst }
  rules: []
`
}

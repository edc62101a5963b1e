/** The public surface: the verbs, their options and results, and the one error class. No logic. */

export type { ChosenPackage, Layout, Resolved } from './conda/layout.js'
export type { Spare } from './conda/spare.js'
export { type VerifyCacheOptions, type VerifyCacheResult, verifyCache } from './deploy/cache/check.js'
export { type ReleaseOptions, type ReleaseResult, releaseLeases } from './deploy/cache/lease.js'
export {
  type Cache,
  type CachedDeployment,
  type ListCacheOptions,
  type ListCacheResult,
  listCache,
} from './deploy/cache/list.js'
export {
  type PruneCacheOptions,
  type PruneCacheResult,
  type PrunedDeployment,
  pruneCache,
} from './deploy/cache/prune.js'
export { type RemoveFromCacheOptions, type RemoveFromCacheResult, removeFromCache } from './deploy/cache/remove.js'
export { type DeployOptions, type DeployResult, deploy } from './deploy/deploy.js'
export { type InspectOptions, type InspectResult, inspect, type Limit } from './deploy/inspect.js'
export { type MountOptions, type MountResult, mount } from './deploy/mount.js'
export type { Target } from './deploy/plan.js'
export { type RelocateOptions, type RelocateResult, relocate } from './deploy/relocate.js'
export { type RunOptions, type RunResult, run } from './deploy/run.js'
export type { Candidate, Rejected } from './deploy/scratch.js'
export { type VerifyOptions, type VerifyResult, verify } from './deploy/verify.js'
export { EnvError, type ErrorCode, type ErrorDetails } from './errors.js'
export { type Cleaned, type CleanOptions, type CleanResult, clean } from './install/clean.js'
export { type CreateOptions, type CreateResult, create } from './install/create.js'
export { type EnvsOptions, type EnvsResult, envs, type KnownEnvironment } from './install/envs.js'
export { type ExportFormat, type ExportOptions, type ExportResult, exportEnvironment } from './install/export.js'
export { type InstallOptions, install } from './install/install.js'
export { type LayoutOptions, withLayout } from './install/layout.js'
export type { Clobber } from './install/link.js'
export { type ListOptions, type ListResult, list, type RevisionsResult, revisions } from './install/list.js'
export type { ListedPackage } from './install/listed.js'
export type { PipResult } from './install/pip.js'
export { type RemoveOptions, remove } from './install/remove.js'
export {
  type RemoveEnvironmentOptions,
  type RemoveEnvironmentResult,
  removeEnvironment,
} from './install/remove-environment.js'
export { type RepairOptions, type RepairResult, repair } from './install/repair.js'
export type { Change, Revision } from './install/revisions.js'
export type { ChangeResult } from './install/transaction.js'
export { type UpdateOptions, update } from './install/update.js'
export type { Fault, Reused } from './native.js'
export { type PackOptions, type PackResult, pack } from './pack/pack.js'
export type { Reporter } from './report.js'
export { type BroadcastOptions, type BroadcastResult, broadcast } from './slurm/broadcast.js'
export { type EpilogOptions, type EpilogResult, epilog } from './slurm/epilog.js'
export { type SlurmInstallOptions, type SlurmInstallResult, slurmInstall } from './slurm/install.js'
export type { NodeDeploy, NodeResult } from './slurm/messages.js'
export { type PrologOptions, type PrologResult, prolog } from './slurm/prolog.js'
export { type TaskPrologOptions, type TaskPrologResult, taskProlog } from './slurm/task-prolog.js'
export type { Role, Served, Server } from './trace/classify.js'
export { type ComparedRow, type Comparison, compareReports, readReport } from './trace/compare.js'
export { type Explained, explain } from './trace/explain.js'
export type { Kind } from './trace/kinds.js'
export { type Breach, breaches, type Limit as TraceLimit, parseLimit } from './trace/limits.js'
export type { RoleTally, Tally, TracedFile, TraceReport, Unseen } from './trace/report.js'
export { type TraceOptions, trace } from './trace/trace.js'
export type { Recovered } from './tree/change.js'
export type { Locality } from './tree/file-system.js'
export type { Filter } from './tree/filter.js'
export type { Counts, Kept, LeftOut, OutsideLink } from './tree/manifest.js'
export { version } from './version.js'

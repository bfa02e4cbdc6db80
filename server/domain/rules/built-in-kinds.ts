/** The kinds that coordinators' own workers run, by name. What the store says of them goes by this list. */
export const builtInKindNames = [
  "github.sync",
  "github.issues",
  "http.request",
  "maintenance.retention",
  "maintenance.retry-dead",
  "report.digest",
  "maintenance.backup",
] as const;

/** The name of one of them. */
export type BuiltInKindName = (typeof builtInKindNames)[number];

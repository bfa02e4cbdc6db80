/** A control of the security table: its number, what it is, and, where it cannot be tried, why. */
export interface Control {
  readonly id: string;
  readonly words: string;
  readonly notTried?: string;
  /** Where what is tried falls short of the table: told with its line. */
  readonly short?: string;
}

/** Every control, in order; a test of each is in this folder, in a describe that begins with its number. */
export const controls: readonly Control[] = [
  { id: "S1", words: "malformed keys are refused without a query" },
  { id: "S2", words: "only hashes of secrets are kept, and compared in constant time" },
  { id: "S3", words: "a secret is shown once" },
  { id: "S4", words: "unknown, revoked and expired keys have one answer" },
  { id: "S5", words: "guesses are limited before the database is asked" },
  { id: "S6", words: "a revoked key's streams end within 2 s" },
  { id: "S7", words: "a key opens the methods of its scopes alone" },
  { id: "S8", words: "limits are counted atomically" },
  { id: "S9", words: "an enrolment token is used once, in time, for its org" },
  { id: "S10", words: "key pairs of machines", notTried: "a worker key is a bearer key for now" },
  { id: "S11", words: "access tokens of workers", notTried: "a worker key is a bearer key for now" },
  {
    id: "S12",
    words: "rotation at 75 % of a credential's life",
    notTried: "a worker key is a bearer key for now",
  },
  { id: "S13", words: "mutual TLS" },
  { id: "S14", words: "a job's token is for its own job, while its lease is current" },
  { id: "S15", words: "a lease is bound to its worker and its org" },
  { id: "S16", words: "nothing asks the database without an org" },
  { id: "S17", words: "row-level security is forced on every table" },
  { id: "S18", words: "the org is set inside the transaction; unset is an error" },
  { id: "S19", words: "work over all orgs has its own role" },
  { id: "S20", words: "keys of requests and external ids are an org's own" },
  { id: "S21", words: "what another org has cannot be told from what nobody has" },
  { id: "S22", words: "messages are limited in both directions" },
  { id: "S23", words: "a decompression bomb ends at the limit" },
  { id: "S24", words: "streams, headers and connections are limited" },
  {
    id: "S25",
    words: "rapid reset ends its connection",
    short:
      "during 20 connections a second of an attacker in a process of its own another client keeps 2 × its p99, or 50 ms; " +
      "reconnects without end take the processors of the machine that both share, and are not judged",
  },
  { id: "S26", words: "floods of frames end their connection" },
  { id: "S27", words: "slow clients are closed in time" },
  { id: "S28", words: "timeouts and nesting are bounded" },
  { id: "S29", words: "every request is checked at the edge" },
  { id: "S30", words: "NUL, lone surrogates and huge numbers stop no job" },
  { id: "S31", words: "inputs that are searched are bounded" },
  { id: "S32", words: "a job's process knows nothing of its worker" },
  { id: "S33", words: "isolation holds" },
  { id: "S34", words: "the whole process tree dies with the lease" },
  { id: "S35", words: "what a job prints is text alone" },
  { id: "S36", words: "untrusted text cannot steer a terminal" },
  { id: "S37", words: "secrets are redacted in logs" },
  { id: "S38", words: "encryption of payloads", notTried: "payloads are not encrypted by Muster" },
  { id: "S39", words: "artifacts are written to their own place alone" },
  { id: "S40", words: "webhooks are signed" },
  { id: "S41", words: "no call goes to a private address" },
  { id: "S42", words: "an edit, a deletion and a reorder of the audit log are found" },
  { id: "S43", words: "an operator's act and its audit row are one commit" },
  { id: "S44", words: "templates are pinned, and never executed" },
  { id: "S45", words: "the supply chain is pinned" },
  { id: "S46", words: "nothing listens beyond loopback without TLS and keys" },
];

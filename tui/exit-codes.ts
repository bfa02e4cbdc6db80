/** Every exit code of the program; scripts may rely on them. */
export const exitCodes = {
  done: 0,
  unexpected: 1,
  usage: 2,
  notFound: 3,
  notAllowed: 4,
  conflict: 5,
  unreachable: 6,
  timedOut: 7,
  jobFailed: 9,
  limit: 10,
  checkFailed: 11,
  partFailed: 12,
  noWork: 20,
  config: 78,
  interrupted: 130,
  terminated: 143,
} as const;

/** One exit code in words, for `muster help exit-codes`. */
export const exitCodeMeanings: readonly (readonly [code: number, meaning: string])[] = [
  [exitCodes.done, "done"],
  [exitCodes.unexpected, "internal or unexpected error"],
  [exitCodes.usage, "wrong usage, or the request is not valid"],
  [exitCodes.notFound, "no such job, batch, worker, ..."],
  [exitCodes.notAllowed, "a key is needed, or the key does not allow it"],
  [exitCodes.conflict, "conflict: wrong state, exists already, idempotency key with other content"],
  [exitCodes.unreachable, "the coordinator cannot be reached"],
  [exitCodes.timedOut, "timed out: a call, or the --timeout of a wait"],
  [exitCodes.jobFailed, "the job or batch itself failed or was cancelled (--wait, wait, --exit-status)"],
  [exitCodes.limit, "over a quota, a rate or a size limit"],
  [
    exitCodes.checkFailed,
    "doctor found something that does not work, or audit verify something that was changed",
  ],
  [exitCodes.partFailed, "a part failed; the messages say which"],
  [exitCodes.noWork, "worker run --once, work check: there was nothing to do"],
  [exitCodes.config, "the configuration of the server, or of this program, is not valid"],
  [exitCodes.interrupted, "ended by Ctrl-C (SIGINT), or answered no"],
  [exitCodes.terminated, "ended by SIGTERM"],
];

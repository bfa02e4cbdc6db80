import { Code } from "@connectrpc/connect";

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
  [exitCodes.partFailed, "a part failed; the messages say which"],
  [exitCodes.noWork, "worker run --once, work check: there was nothing to do"],
  [exitCodes.config, "server, dev: the configuration is not valid"],
  [exitCodes.interrupted, "ended by Ctrl-C (SIGINT)"],
  [exitCodes.terminated, "ended by SIGTERM"],
];

/** The exit code for the status code of a call. */
export function exitCodeOfStatus(code: Code): number {
  switch (code) {
    case Code.InvalidArgument:
    case Code.OutOfRange:
      return exitCodes.usage;
    case Code.NotFound:
      return exitCodes.notFound;
    case Code.Unauthenticated:
    case Code.PermissionDenied:
      return exitCodes.notAllowed;
    case Code.FailedPrecondition:
    case Code.Aborted:
    case Code.AlreadyExists:
      return exitCodes.conflict;
    case Code.Unavailable:
      return exitCodes.unreachable;
    case Code.DeadlineExceeded:
      return exitCodes.timedOut;
    case Code.ResourceExhausted:
      return exitCodes.limit;
    case Code.Canceled:
      return exitCodes.interrupted;
    case Code.Internal:
    case Code.Unknown:
    case Code.DataLoss:
    case Code.Unimplemented:
      return exitCodes.unexpected;
  }
}

import type { AskedJob } from "./history.ts";

/** A job to submit, and what the checker is to know of it. */
export interface MixedJob {
  readonly asked: AskedJob;
  readonly payload: Readonly<Record<string, unknown>>;
  readonly maxAttempts: number;
}

/**
 * Nine of ten jobs take 0 to 5 ms, 9 % start a process, 1 % take 5 to 30 s (divided by `scale`). Some of the short
 * ones fail first, some always, and some are exclusive. `random` is uniform in [0, 1).
 */
export function drawJob(random: () => number, scale: number): MixedJob {
  const draw = random();
  if (draw < 0.01) return job("chaos.long", { ms: Math.round((5_000 + 25_000 * random()) / scale) });
  // One in a hundred of the processes has a child of its own, and lasts.
  if (draw < 0.0109) return job("chaos.child", { argv: ["sh", "-c", `sleep ${10 / scale} & wait`] });
  if (draw < 0.1) return job("chaos.child", { argv: ["true"] });
  // So do some of the exclusive ones: longer than a silent worker keeps them.
  if (draw < 0.1005) {
    const ms = Math.round((20_000 + 25_000 * random()) / scale);
    return job("chaos.exclusive", { ms }, { exclusive: true });
  }
  if (draw < 0.11) return job("chaos.exclusive", { ms: Math.round(50 * random()) }, { exclusive: true });
  if (draw < 0.13) {
    const failures = 1 + Math.floor(2 * random());
    return job("chaos.flaky", { failures }, { failures, maxAttempts: 3 });
  }
  if (draw < 0.132) return job("chaos.flaky", { failures: -1 }, { failures: -1, maxAttempts: 2 });
  return job("chaos.noop", { ms: Math.floor(6 * random()) });
}

/** The kinds of `drawJob`. */
export const mixedKinds = [
  "chaos.noop",
  "chaos.exclusive",
  "chaos.long",
  "chaos.flaky",
  "chaos.child",
] as const;

function job(
  kind: (typeof mixedKinds)[number],
  payload: Readonly<Record<string, unknown>>,
  asked: Partial<AskedJob> = {},
): MixedJob {
  const maxAttempts = asked.maxAttempts ?? 3;
  return {
    asked: { kind, exclusive: false, failures: 0, poison: false, ...asked, maxAttempts },
    payload,
    maxAttempts,
  };
}

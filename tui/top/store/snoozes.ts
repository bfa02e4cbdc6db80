/** Where something is kept between two starts of the console. */
export interface Keeper {
  /** The text that was kept last; empty when there is none, or it cannot be read. */
  readonly read: () => string;
  /** Keeps a text. Failing is no reason to stop: it is kept for this start alone then. */
  readonly write: (text: string) => void;
}

/** Problems that somebody does not want to see for a while: on this machine alone. */
export interface Snoozes {
  readonly snooze: (id: string, untilMs: number) => void;
  readonly wake: (id: string) => void;
  readonly isSnoozed: (id: string, nowMs: number) => boolean;
}

/** Most problems that are remembered. */
const most = 1_000;

/** Reads what is snoozed; what is over is forgotten. */
export function createSnoozes(keeper: Keeper, nowMs: number): Snoozes {
  const until = new Map(readUntil(keeper.read()).filter(([, ms]) => ms > nowMs));
  const keep = (): void => {
    for (const id of [...until.keys()].slice(0, -most)) until.delete(id);
    keeper.write(`${JSON.stringify({ snoozed: Object.fromEntries(until) })}\n`);
  };
  return {
    snooze: (id, untilMs) => {
      until.delete(id);
      until.set(id, untilMs);
      keep();
    },
    wake: (id) => {
      if (until.delete(id)) keep();
    },
    isSnoozed: (id, now) => (until.get(id) ?? 0) > now,
  };
}

/** Keeps nothing beyond this start. */
export function forgetfulKeeper(): Keeper {
  return { read: () => "", write: () => undefined };
}

// The file is the user's: whatever is in it, the console starts.
function readUntil(text: string): [string, number][] {
  try {
    const value: unknown = JSON.parse(text);
    const snoozed = isRecord(value) ? value["snoozed"] : undefined;
    if (!isRecord(snoozed)) return [];
    return Object.entries(snoozed).flatMap(([id, ms]) => (typeof ms === "number" ? [[id, ms]] : []));
  } catch {
    return [];
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

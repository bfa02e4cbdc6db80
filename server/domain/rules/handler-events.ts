/** What the types of events of handlers begin with. */
export const handlerPrefix = "handler.";

/** Bytes of JSON that the body of one has at most. */
export const mostBodyBytes = 64 * 1024;

const nameForm = /^[a-z0-9][a-z0-9._-]{0,99}$/;
const mostDepth = 60;

/** Whether a name is one that an event of a handler may have. */
export function isHandlerEventName(name: string): boolean {
  return nameForm.test(name);
}

/** Whether a type, or a beginning that ends in `.*`, is one of events of handlers. */
export function isHandlerPattern(pattern: string): boolean {
  if (pattern === `${handlerPrefix}*`) return true;
  if (!pattern.startsWith(handlerPrefix)) return false;
  const name = pattern.slice(handlerPrefix.length);
  return isHandlerEventName(name.endsWith(".*") ? name.slice(0, -2) : name);
}

/** Whether every reader can hold a JSON value: messages of the protocol nest 100 deep, and the event is around it. */
export function isShallow(value: unknown, depth = mostDepth): boolean {
  if (typeof value !== "object" || value === null) return true;
  return depth > 0 && Object.values(value).every((one) => isShallow(one, depth - 1));
}

/** Holds back what attempts tell beyond a measure. */
export interface EventBrake {
  /** How many of an attempt were held back before one that may be told; null: it is held back, too. */
  take(leaseId: string): number | null;
}

/** Events that an attempt may tell at once, and from then on a second. */
const burst = 100;
const perSecond = 10;
/** Attempts that are remembered; the one that was quiet longest is forgotten first. */
const mostAttempts = 10_000;

/** Makes a brake: 100 at once and 10 a second an attempt. `nowMs` is a clock that never goes back. */
export function createEventBrake(nowMs: () => number): EventBrake {
  const buckets = new Map<string, { left: number; atMs: number; dropped: number }>();
  return {
    take(leaseId) {
      const atMs = nowMs();
      const before = buckets.get(leaseId) ?? { left: burst, atMs, dropped: 0 };
      const left = Math.min(burst, before.left + ((atMs - before.atMs) * perSecond) / 1000);
      const isTold = left >= 1;
      buckets.delete(leaseId);
      buckets.set(leaseId, {
        left: isTold ? left - 1 : left,
        atMs,
        dropped: isTold ? 0 : before.dropped + 1,
      });
      if (buckets.size > mostAttempts) buckets.delete(buckets.keys().next().value ?? leaseId);
      return isTold ? before.dropped : null;
    },
  };
}

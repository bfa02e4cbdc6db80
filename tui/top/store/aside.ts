import { ConnectError } from "@connectrpc/connect";

/** What is known beside a list about one of its rows. */
export interface AsideState<Value> {
  /** Undefined: not read yet. */
  readonly value: Value | undefined;
  /** Why it could not be read; empty when it could. */
  readonly cause: string;
}

/** More about the row that is looked at: read when it is asked for, kept for a while. */
export interface Aside<Value> {
  /** What is known of it now. Asks for more when it is not known or old; never more than one call is under way. */
  readonly of: (key: string) => AsideState<Value>;
  /** Forgets everything: what is shown next is read anew. */
  readonly forget: () => void;
  /** While this lasts, it may read. */
  readonly follow: (signal: AbortSignal) => Promise<void>;
}

/** What it takes to make one. */
export interface AsideOptions<Value> {
  readonly read: (key: string, call: { signal: AbortSignal; timeoutMs: number }) => Promise<Value>;
  /** The clock of this machine. */
  readonly now: () => number;
  /** Something was read. */
  readonly changed: () => void;
  /** Age at which it is read again, in milliseconds. Default 3 s. */
  readonly everyMs?: number;
}

/** Rows that are remembered. */
const most = 64;

/** Makes one that knows nothing. */
export function createAside<Value>(options: AsideOptions<Value>): Aside<Value> {
  const { read, now, changed, everyMs = 3_000 } = options;
  const known = new Map<string, AsideState<Value> & { readonly atMs: number }>();
  let life: AbortSignal | undefined;
  let isReading = false;

  const keep = (key: string, state: AsideState<Value>): void => {
    known.delete(key);
    known.set(key, { ...state, atMs: now() });
    const [oldest] = known.keys();
    if (known.size > most && oldest !== undefined) known.delete(oldest);
  };
  const start = async (key: string, signal: AbortSignal): Promise<void> => {
    isReading = true;
    try {
      keep(key, { value: await read(key, { signal, timeoutMs: 10_000 }), cause: "" });
    } catch (error) {
      if (signal.aborted) return;
      keep(key, { value: known.get(key)?.value, cause: ConnectError.from(error).rawMessage });
    } finally {
      isReading = false;
    }
    changed();
  };
  return {
    of: (key) => {
      const state = known.get(key);
      const isOld = state === undefined || now() - state.atMs >= everyMs;
      if (isOld && !isReading && life?.aborted === false) void start(key, life);
      return state ?? { value: undefined, cause: "" };
    },
    forget: () => known.clear(),
    follow: (signal) => {
      life = signal;
      return new Promise((resolve) => {
        if (signal.aborted) resolve();
        else signal.addEventListener("abort", () => resolve(), { once: true });
      });
    },
  };
}

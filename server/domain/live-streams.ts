import type { PostgresJsDatabase } from "drizzle-orm/postgres-js";
import { readEndedKeys } from "../store/ended-keys.ts";
import { readEndedLogins } from "../store/logins.ts";
import type { Caller } from "./context.ts";

/** Whose streams end. Of an org those of workers stay, which bring back what runs, unless they are meant, too. */
export type StreamHolder =
  | { readonly orgId: string; readonly withWorkers?: boolean }
  | { readonly keyId: string };

/** What holds a stream open: its caller, and what ends it. */
export interface LiveStream {
  readonly caller: Pick<Caller, "orgId" | "keyOrgId" | "keyId" | "type" | "login">;
  /** Ends the stream, because its key has ended or its org may do nothing; safe to call again. */
  end(cause: "key" | "org"): void;
}

/** How far back ends of keys are looked for: what one pass has missed, the next one finds. */
const lookBackMs = 60_000;

/**
 * The streams of this coordinator, by whoever holds them: watches, waits, links of workers. A key is looked at when a
 * call begins, and a stream may last for days: `poll` finds the keys that have ended since, whoever ended them, in one
 * statement for all of them.
 */
export class LiveStreams {
  readonly #streams = new Set<LiveStream>();
  readonly #nowMs: () => number;
  #polledMs: number;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
    this.#polledMs = nowMs();
  }

  /** Keeps a stream until the function that is answered is called. */
  open(stream: LiveStream): () => void {
    this.#streams.add(stream);
    return () => this.#streams.delete(stream);
  }

  /** Ends all streams of a key, or of an org, here. Answers with their number. */
  endStreamsOf(holder: StreamHolder): number {
    if ("orgId" in holder) {
      const { orgId, withWorkers = false } = holder;
      return this.#end("org", ({ caller }) =>
        withWorkers
          ? caller.orgId === orgId || caller.keyOrgId === orgId
          : caller.orgId === orgId && caller.type !== "worker",
      );
    }
    return this.#end("key", ({ caller }) => caller.keyId === holder.keyId);
  }

  /** Ends the streams whose keys have ended, wherever that was done. Called each 1.6 s. */
  async poll(sweep: PostgresJsDatabase): Promise<void> {
    const orgs = new Set([...this.#streams].map(({ caller }) => caller.keyOrgId ?? caller.orgId));
    const startedMs = this.#nowMs();
    if (orgs.size > 0) {
      const sinceMs = Math.ceil(startedMs - this.#polledMs + lookBackMs);
      const ended = new Set((await readEndedKeys(sweep, [...orgs], sinceMs)).map(({ keyId }) => keyId));
      if (ended.size > 0) this.#end("key", ({ caller }) => ended.has(caller.keyId));
    }
    await this.#endLoggedOut(sweep);
    // After an outage it looks back to before it.
    this.#polledMs = startedMs;
  }

  /** Their callers. */
  callers(): IteratorObject<LiveStream["caller"]> {
    return this.#streams.values().map(({ caller }) => caller);
  }

  /** How many are open. */
  get size(): number {
    return this.#streams.size;
  }

  // Those of people end with their login, and when they have another role than they began with.
  async #endLoggedOut(sweep: PostgresJsDatabase): Promise<void> {
    const held = new Map(
      [...this.#streams].flatMap(({ caller: { login, orgId } }) => {
        if (login === undefined || login.role === null) return [];
        const { homeOrgId, loginId, role } = login;
        return [[`${loginId} ${orgId} ${role}`, { homeOrgId, loginId, orgId, role }]] as const;
      }),
    );
    if (held.size === 0) return;
    const ended = await readEndedLogins(sweep, [...held.values()]);
    const gone = new Set(ended.map(({ loginId, orgId, role }) => `${loginId} ${orgId} ${role}`));
    if (gone.size === 0) return;
    this.#end("key", ({ caller: { login, orgId } }) => gone.has(`${login?.loginId} ${orgId} ${login?.role}`));
  }

  #end(cause: "key" | "org", isMeant: (stream: LiveStream) => boolean): number {
    const ended = [...this.#streams].filter(isMeant);
    for (const stream of ended) {
      this.#streams.delete(stream);
      stream.end(cause);
    }
    return ended.length;
  }
}

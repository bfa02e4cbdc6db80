import type { PostgresJsDatabase } from "drizzle-orm/postgres-js";
import { type EndedHolders, readEndedHolders } from "../store/ended-streams.ts";
import type { HeldLogin } from "../store/logins.ts";
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
 * call begins, and a stream may last for days: `poll` finds what has ended since, whoever ended it, in one statement for
 * all of them.
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

  /**
   * Ends the streams whose keys, logins or orgs have ended, wherever that was done; answers with the orgs that may do
   * nothing. One statement, and none when nothing is open. Called each 1.2 s.
   */
  async poll(sweep: PostgresJsDatabase): Promise<EndedHolders["orgs"]> {
    const startedMs = this.#nowMs();
    const sinceMs = Math.ceil(startedMs - this.#polledMs + lookBackMs);
    const orgIds = [...new Set([...this.#streams].map(({ caller }) => caller.keyOrgId ?? caller.orgId))];
    if (orgIds.length === 0) {
      this.#polledMs = startedMs;
      return [];
    }
    const { keyIds, logins, orgs } = await readEndedHolders(sweep, {
      orgIds,
      sinceMs,
      logins: this.#heldLogins(),
    });
    const gone = new Set(logins.map(({ loginId, orgId, role }) => `${loginId} ${orgId} ${role}`));
    if (keyIds.size > 0 || gone.size > 0) {
      this.#end(
        "key",
        ({ caller: { keyId, login, orgId } }) =>
          keyIds.has(keyId) || gone.has(`${login?.loginId} ${orgId} ${login?.role}`),
      );
    }
    for (const { orgId, isDeleted } of orgs) this.endStreamsOf({ orgId, withWorkers: isDeleted });
    // After an outage it looks back to before it.
    this.#polledMs = startedMs;
    return orgs;
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
  #heldLogins(): HeldLogin[] {
    const held = new Map(
      [...this.#streams].flatMap(({ caller: { login, orgId } }) => {
        if (login === undefined || login.role === null) return [];
        const { homeOrgId, loginId, role } = login;
        return [[`${loginId} ${orgId} ${role}`, { homeOrgId, loginId, orgId, role }]] as const;
      }),
    );
    return [...held.values()];
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

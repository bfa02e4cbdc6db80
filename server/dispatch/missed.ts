import type { Coordinator } from "../domain/context.ts";
import type { InternedShape } from "../domain/rules/shapes.ts";
import { peekReady } from "../store/claim.ts";
import { call, runInOrg } from "../store/statement.ts";
import type { ReadyNews } from "./lines.ts";

/** After how long what was missed is looked for, in milliseconds: at first, and at most. */
const leastMs = 20;
const mostMs = 1_000;

/** What this works with. */
export interface MissedContext extends Pick<Coordinator, "db" | "log"> {
  /** Milliseconds of a steady clock. */
  readonly nowMs: () => number;
  /** Jobs that were missed are still ready. */
  readonly found: (orgId: string, ready: readonly ReadyNews[]) => void;
}

interface OrgMissed {
  readonly shapes: Map<bigint, InternedShape>;
  timer: NodeJS.Timeout | undefined;
  waitMs: number;
  /** When something was missed last. */
  notedMs: number;
}

/**
 * Lines of which a claim got less than was known to be there: others took it, or hold its rows for a moment, as who
 * submits a job that depends on one of them does. A claim passes locked rows by, and who lets go of them tells nobody:
 * so a look without locks follows soon, and later and later while it does not help.
 */
export class Missed {
  readonly #context: MissedContext;
  readonly #orgs = new Map<string, OrgMissed>();
  #isStopped = false;

  constructor(context: MissedContext) {
    this.#context = context;
  }

  /** Notes lines that came short. */
  note(orgId: string, shapes: readonly InternedShape[]): void {
    if (shapes.length === 0 || this.#isStopped) return;
    const nowMs = this.#context.nowMs();
    let org = this.#orgs.get(orgId);
    if (!org) {
      org = { shapes: new Map(), timer: undefined, waitMs: 0, notedMs: nowMs };
      this.#orgs.set(orgId, org);
    }
    const isAgain = nowMs - org.notedMs < 2 * org.waitMs;
    org.notedMs = nowMs;
    for (const shape of shapes) org.shapes.set(shape.shapeId, shape);
    if (org.timer) return;
    org.waitMs = isAgain ? Math.min(2 * org.waitMs, mostMs) : leastMs;
    org.timer = setTimeout(() => void this.#look(orgId), org.waitMs);
    org.timer.unref();
  }

  /** Looks for nothing more. */
  stop(): void {
    this.#isStopped = true;
    for (const { timer } of this.#orgs.values()) clearTimeout(timer);
    this.#orgs.clear();
  }

  async #look(orgId: string): Promise<void> {
    const org = this.#orgs.get(orgId);
    if (!org) return;
    org.timer = undefined;
    const shapes = [...org.shapes.values()];
    org.shapes.clear();
    try {
      const [rows = []] = await runInOrg(this.#context.db.hot, orgId, [
        call(peekReady, {
          org: orgId,
          shapes: shapes.map(({ shapeId }) => shapeId.toString()),
          limits: shapes.map(() => 1),
        }),
      ]);
      if (this.#isStopped) return;
      const ready = new Set(rows.map((row) => BigInt(String(row["shape"]))));
      const found = shapes.filter(({ shapeId }) => ready.has(shapeId));
      if (found.length === 0 && !org.timer) this.#orgs.delete(orgId);
      this.#context.found(
        orgId,
        found.map((shape) => ({ shape, count: 1 })),
      );
    } catch (error) {
      this.#context.log.debug({ err: error, orgId }, "missed jobs were not looked for; the poll finds them");
    }
  }
}

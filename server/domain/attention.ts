import { readFailingChannels } from "../store/alert-channels.ts";
import { readAudited, readContestedSessions, readLeasesBy, readTroubledJobs } from "../store/attention.ts";
import type { Tx } from "../store/database.ts";
import { readTroubledWebhooks } from "../store/event-webhooks.ts";
import { existingProjects } from "../store/explain.ts";
import { countReady, firstReady, oldestReady } from "../store/ready-lines.ts";
import { readFailingSchedules } from "../store/schedules.ts";
import { readOrgByIndex } from "../store/snapshot.ts";
import { channelItems, webhookItems } from "./attention-channels.ts";
import {
  contestedItems,
  heldGateItems,
  type LineItem,
  lostProjectItems,
  projectsOf,
  troubleItems,
  workerItems,
} from "./attention-items.ts";
import { missingSessionItems, noRouteItems } from "./attention-routes.ts";
import { failingScheduleItems } from "./attention-schedules.ts";
import { createCache } from "./cache.ts";
import type { Caller, Coordinator } from "./context.ts";
import { readLines } from "./routing.ts";
import { type AttentionCause, type AttentionItem, worstFirst } from "./rules/attention.ts";

/** What needs a person: the worst first, then the oldest; at most 1,000. */
export interface AttentionView {
  readonly items: readonly AttentionItem[];
  /** There are more. */
  readonly isTruncated: boolean;
}

/** Reads the attention items of orgs for any number of watchers. */
export interface AttentionReader {
  /** Empty `causes`: all. */
  listAttention(
    caller: Pick<Caller, "orgId">,
    options: { readonly causes: readonly AttentionCause[] },
  ): Promise<AttentionView>;
}

/** Items that an answer shows at most. */
const mostItems = 1_000;
/** Ready jobs of a line that are counted at most; all lines together share the second number. */
const mostCounted = 1_000;
const mostCountedInAll = 50_000;
/** Jobs that an item names at most. */
const mostJobIds = 10;
/** How long a session that two workers publish is shown. */
const contestedMs = 3_600_000;
/** Entries of the audit log that are looked through for who removed a session. */
const mostAudited = 1_000;
/** How long what was read is kept for others. */
const keptMs = 1_000;

/** Makes the reader. What one caller read is kept for others for 1 s. `nowMs` is a clock that never goes back. */
export function createAttentionReader(
  c: Pick<Coordinator, "db" | "config">,
  nowMs: () => number = () => performance.now(),
): AttentionReader {
  const cache = createCache<readonly AttentionItem[]>({ maxAgeMs: keptMs, maxEntries: 1_000, nowMs });
  return {
    async listAttention({ orgId }, { causes }) {
      const all = await cache.get(orgId, () => readAttention(c, orgId));
      const items = causes.length === 0 ? all : all.filter(({ cause }) => causes.includes(cause));
      return { items: items.slice(0, mostItems), isTruncated: items.length > mostItems };
    },
  };
}

function readAttention(
  { db, config }: Pick<Coordinator, "db" | "config">,
  orgId: string,
): Promise<readonly AttentionItem[]> {
  return readOrgByIndex(db.app, orgId, async (tx) => {
    const { routing, lines: heads } = await readLines(tx, orgId, config);
    const oldest = await oldestReady(
      tx,
      orgId,
      heads.map(({ shape }) => shape.shapeId),
    );
    const lines = heads.map((one) => ({ ...one, oldestAt: oldest.get(one.shape.shapeId) ?? one.readyAt }));
    const silent = routing.workers.filter((one) => one.isStale && one.slotsUsed > 0);
    const leases = await readLeasesBy(
      tx,
      orgId,
      silent.map(({ workerId }) => workerId),
    );
    const named = [...new Set(lines.flatMap(({ shape }) => projectsOf(shape)))];
    const projects = await existingProjects(tx, orgId, named);
    const ofLines = [
      ...noRouteItems(routing, lines),
      ...(await missingSessions(tx, orgId, routing, lines)),
      ...heldGateItems(routing, lines),
      ...lostProjectItems(lines, projects),
    ];
    const items = [
      ...(await withJobs(tx, orgId, ofLines)),
      ...troubleItems(await readTroubledJobs(tx, orgId, mostItems + 1)),
      ...workerItems(routing, leases),
      ...failingScheduleItems(await readFailingSchedules(tx, orgId, mostItems + 1)),
      ...channelItems(await readFailingChannels(tx, orgId, mostItems)),
      ...webhookItems(await readTroubledWebhooks(tx, orgId, mostItems), routing.now),
      ...contestedItems(routing, await readContestedSessions(tx, orgId, contestedMs, mostItems + 1)),
    ];
    return items.sort(worstFirst);
  });
}

async function missingSessions(
  tx: Tx,
  orgId: string,
  ...[routing, lines]: Parameters<typeof noRouteItems>
): Promise<LineItem[]> {
  const missing = [
    ...new Set(
      lines.flatMap(({ shape: { target } }) =>
        target?.startsWith("session:") ? [target.slice("session:".length)] : [],
      ),
    ),
  ].filter((id) => !routing.sessions.some(({ sessionId }) => sessionId === id));
  const removed = await readAudited(tx, orgId, {
    action: "session.remove",
    targets: missing,
    most: mostAudited,
  });
  return missingSessionItems(routing, lines, removed);
}

// Counts the jobs of each item, and names some.
async function withJobs(tx: Tx, orgId: string, items: readonly LineItem[]): Promise<AttentionItem[]> {
  const ids = [...new Set(items.flatMap(({ lines }) => lines.map(({ shape }) => shape.shapeId)))];
  const most = Math.min(mostCounted, Math.ceil(mostCountedInAll / Math.max(1, ids.length)));
  const counts = await countReady(tx, orgId, ids, most);
  const countOf = new Map(ids.map((id, index) => [id, counts[index] ?? 0]));
  const first = await firstReady(tx, orgId, ids, mostJobIds);
  return items.map(({ lines, ...item }) => ({
    ...item,
    jobs: lines.reduce((sum, { shape }) => sum + (countOf.get(shape.shapeId) ?? 0), 0),
    jobIds: lines.flatMap(({ shape }) => first.get(shape.shapeId) ?? []).slice(0, mostJobIds),
  }));
}

import type { Tx } from "../store/database.ts";
import {
  type FoundRow,
  findBatchesByEnding,
  findBatchesInRange,
  findJobByExternalId,
  findJobsByEnding,
  findJobsInRange,
  findKeys,
  findNames,
  findProjects,
  findSessions,
  findWorkers,
} from "../store/lookup.ts";
import { readOrgByIndex } from "../store/snapshot.ts";
import type { Caller, Coordinator } from "./context.ts";
import { invalidArgument, type Violation } from "./errors.ts";
import { readIdPart } from "./id-parts.ts";
import { encodeId, type IdNoun } from "./ids.ts";

/** The sorts of things that have an id or a name, in the order in which they are shown. */
export const lookupTypes = [
  "job",
  "worker",
  "queue",
  "project",
  "session",
  "batch",
  "kind",
  "skill",
  "key",
] as const;

/** One of `lookupTypes`. */
export type LookupType = (typeof lookupTypes)[number];

/** What a text may mean. */
export interface Candidate {
  readonly type: LookupType;
  /** As on the wire; the name of what has no id. */
  readonly id: string;
  /** For people; may be empty. */
  readonly label: string;
}

/** What is looked up. */
export interface LookupQuery {
  readonly text: string;
  /** Empty: all. */
  readonly types: readonly LookupType[];
  /** 0 means 10. */
  readonly limit: number;
}

/**
 * Finds what a part of an id or a name may mean: what is called exactly so first, then what begins so, then what ends
 * so. Of jobs and batches only the newest 10,000 are looked at for the end of their ids. Keys are for admins alone.
 */
export async function lookup(
  c: Pick<Coordinator, "db">,
  caller: Caller,
  { text, types: asked, limit: given }: LookupQuery,
): Promise<{ readonly candidates: readonly Candidate[]; readonly isTruncated: boolean }> {
  const violations: Violation[] = [];
  if (text.length > 200) violations.push({ field: "text", message: "must have at most 200 characters" });
  if (given < 0 || given > 100) violations.push({ field: "limit", message: "must be from 0 to 100" });
  if (violations.length > 0) throw invalidArgument(violations);
  // Text with NUL is refused by the database; nothing is called so.
  if (text.includes("\0") || !text.isWellFormed()) return { candidates: [], isTruncated: false };
  const limit = given === 0 ? 10 : given;
  const wanted = lookupTypes.filter((type) => asked.length === 0 || asked.includes(type));
  const types = wanted.filter((type) => type !== "key" || caller.scopes.includes("admin"));
  const found = await readOrgByIndex(c.db.app, caller.orgId, async (tx) => {
    const lists: Candidate[][] = [];
    for (const type of types) lists.push(await find[type](tx, caller.orgId, text, limit + 1));
    return lists;
  });
  const ranked = found.flatMap((list) =>
    list.map((candidate, place) => ({ candidate, place, rank: rankOf(candidate, text) })),
  );
  // Of the same rank, the first of each sort come before the second.
  ranked.sort((a, b) => a.rank - b.rank || a.place - b.place);
  return {
    candidates: ranked.slice(0, limit).map(({ candidate }) => candidate),
    isTruncated: ranked.length > limit,
  };
}

type Find = (tx: Tx, orgId: string, text: string, limit: number) => Promise<Candidate[]>;

const find: Readonly<Record<LookupType, Find>> = {
  async job(tx, orgId, text, limit) {
    const { range, ending } = readIdPart("job", text);
    const byExternalId = text === "" ? [] : await findJobByExternalId(tx, orgId, text);
    const isAny = text === "" || range !== null;
    const beginning = isAny ? await findJobsInRange(tx, orgId, range, limit) : [];
    const ended = ending === null ? [] : await findJobsByEnding(tx, orgId, ending, limit);
    return withIds("job", "job", [...byExternalId, ...beginning, ...ended]).slice(0, limit);
  },
  async batch(tx, orgId, text, limit) {
    const { range, ending } = readIdPart("batch", text);
    const isAny = text === "" || range !== null;
    const beginning = isAny ? await findBatchesInRange(tx, orgId, range, limit) : [];
    const ended = ending === null ? [] : await findBatchesByEnding(tx, orgId, ending, limit);
    return withIds("batch", "batch", [...beginning, ...ended]).slice(0, limit);
  },
  async worker(tx, orgId, text, limit) {
    const rows = await findWorkers(tx, orgId, text, readIdPart("worker", text), limit);
    return withIds("worker", "worker", rows);
  },
  session: async (...args) => named("session", await findSessions(...args)),
  project: async (...args) => named("project", await findProjects(...args)),
  key: async (...args) => named("key", await findKeys(...args)),
  queue: async (tx, orgId, text, limit) => named("queue", await findNames(tx, orgId, "queue", text, limit)),
  kind: async (tx, orgId, text, limit) => named("kind", await findNames(tx, orgId, "kind", text, limit)),
  skill: async (tx, orgId, text, limit) => named("skill", await findNames(tx, orgId, "skill", text, limit)),
};

function withIds(type: LookupType, noun: IdNoun, rows: readonly FoundRow[]): Candidate[] {
  const unique = new Map(rows.map(({ id, label }) => [id, label]));
  return [...unique].map(([id, label]) => ({ type, id: encodeId(noun, id), label }));
}

function named(type: LookupType, rows: readonly FoundRow[]): Candidate[] {
  return rows.map((row) => ({ type, ...row }));
}

// An external id comes alone, and is exact.
function rankOf({ id, label }: Candidate, text: string): number {
  if (id === text || label === text) return 0;
  const lower = text.toLowerCase();
  const digits = id.slice(id.indexOf("_") + 1);
  return [id, digits, label].some((one) => one.toLowerCase().startsWith(lower)) ? 1 : 2;
}

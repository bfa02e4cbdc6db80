import {
  countEntriesAfter,
  firstPlace,
  holdSeals,
  insertSeal,
  readHashedEntries,
  readLastSeal,
  readSeal,
  readSealable,
  readSeals,
  type SealPlace,
  type SealRow,
} from "../store/audit-seals.ts";
import { inOrg, type Tx } from "../store/database.ts";
import { readOrgByIndex } from "../store/snapshot.ts";
import type { Caller, Coordinator } from "./context.ts";
import { invalidArgument } from "./errors.ts";
import { type ChainHead, entryHash, noHash, readHead, sealHash, writeHead } from "./rules/audit-chain.ts";

/*
 * The audit log of an org is chained behind the calls that write it. An entry's content is hashed when it is
 * inserted; a sweep then puts the hashes into seals, in the order of commits, each with the hash of the seal before.
 * Whoever keeps the hash of the last seal elsewhere can prove all that came before it.
 */

/** Entries of one seal, at most. */
const sealEntries = 1_000;

/**
 * Seals what can be sealed of the log of an org; answers with the number of entries. Where somebody else is at it, 0.
 * A fork is impossible: the number of a seal is taken once.
 */
export async function sealAudit(
  c: Pick<Coordinator, "db">,
  orgId: string,
  signal: AbortSignal,
): Promise<number> {
  let sealed = 0;
  while (!signal.aborted) {
    const count = await inOrg(c.db.sweep, orgId, async (tx) => {
      if (!(await holdSeals(tx, orgId))) return 0;
      const before = await readLastSeal(tx, orgId);
      const entries = await readSealable(tx, orgId, before?.last ?? firstPlace, sealEntries);
      const last = entries.at(-1);
      if (last === undefined) return 0;
      const seal = (before?.seal ?? 0) + 1;
      const hash = sealHash({ orgId, seal, before: before?.hash ?? noHash }, entries);
      await insertSeal(tx, orgId, { seal, last: { xid: last.xid, auditId: last.auditId }, entries, hash });
      return entries.length;
    });
    sealed += count;
    if (count < sealEntries) break;
  }
  return sealed;
}

/** What is wrong with the log. */
export interface ChainProblem {
  /**
   * `edited`, `deleted`, `added`: an entry is not as it was sealed, is gone, or was put among sealed ones;
   * `reordered`: entries stand in another order; `broken`: a seal does not follow from its entries and the seal before;
   * `missing`: a seal is gone; `head`: the chain does not hold the head that was kept.
   */
  readonly type: "edited" | "deleted" | "added" | "reordered" | "broken" | "missing" | "head";
  readonly seal: number;
  /** The entry, of those that are about one. */
  readonly auditId: string | null;
}

/** What a look at a part of the chain came to. */
export interface ChainCheck {
  readonly problems: readonly ChainProblem[];
  /** Entries that were compared. */
  readonly entries: number;
  readonly seals: number;
  /** Where to go on: after this seal; null: it is the end. */
  readonly next: number | null;
  /** The end of the chain; null: nothing was sealed yet. */
  readonly head: ChainHead | null;
  /** Entries that are not sealed yet, up to 1,000; of the end alone. */
  readonly unsealed: number;
}

/** Seals, and problems, of one check at most. */
const checkedSeals = 10;
const mostProblems = 100;

/**
 * Checks the log of an org against its chain, from after a seal on, a bounded part at a time. With a head that was kept
 * elsewhere also that the chain still holds it: without one nobody can tell when the newest entries are gone with
 * their seals.
 */
export async function verifyAudit(
  c: Pick<Coordinator, "db">,
  { orgId }: Caller,
  { after, head: text }: { readonly after: number; readonly head: string },
): Promise<ChainCheck> {
  const kept = text === "" ? null : readHead(text);
  const violations = [
    ...(Number.isSafeInteger(after) && after >= 0
      ? []
      : [{ field: "afterSeal", message: "must be a whole number from 0" }]),
    ...(text !== "" && kept === null
      ? [{ field: "head", message: "must be a head as `muster audit verify` shows it: 12:ab…" }]
      : []),
  ];
  if (violations.length > 0) throw invalidArgument(violations);
  return readOrgByIndex(c.db.app, orgId, async (tx) => {
    const last = await readLastSeal(tx, orgId);
    const seals = await readSeals(tx, orgId, after, checkedSeals);
    const problems: ChainProblem[] = [];
    let before = after === 0 ? null : await readSeal(tx, orgId, after);
    if (after > 0 && before === null) problems.push({ type: "missing", seal: after, auditId: null });
    let entries = 0;
    for (const seal of seals) {
      problems.push(...chainProblems(orgId, before, seal, after));
      problems.push(...(await entryProblems(tx, orgId, before?.last ?? firstPlace, seal)));
      entries += seal.entries.length;
      before = seal;
    }
    const isEnd = (seals.at(-1)?.seal ?? 0) >= (last?.seal ?? 0);
    problems.push(...headProblems(kept, seals, isEnd ? (last?.seal ?? 0) : null));
    return {
      problems: problems.slice(0, mostProblems),
      entries,
      seals: seals.length,
      next: isEnd ? null : (seals.at(-1)?.seal ?? null),
      head: last === null ? null : { seal: last.seal, hash: hexOf(last.hash) },
      unsealed: isEnd ? await countEntriesAfter(tx, orgId, last?.last ?? firstPlace, 1_000) : 0,
    };
  });
}

/** A head as it is kept elsewhere; empty: nothing was sealed. */
export function shownHead(head: ChainHead | null): string {
  return head === null ? "" : writeHead(head);
}

function chainProblems(
  orgId: string,
  before: SealRow | null,
  { seal, entries, hash }: SealRow,
  after: number,
): ChainProblem[] {
  const problems: ChainProblem[] = [];
  const expected = (before?.seal ?? after) + 1;
  for (let gone = expected; gone < seal && problems.length < mostProblems; gone++) {
    problems.push({ type: "missing", seal: gone, auditId: null });
  }
  const right = sealHash({ orgId, seal, before: before?.hash ?? noHash }, entries);
  // After one that is gone nothing can follow: it is said once.
  if (seal === expected && !right.equals(hash)) problems.push({ type: "broken", seal, auditId: null });
  return problems;
}

async function entryProblems(
  tx: Tx,
  orgId: string,
  after: SealPlace,
  { seal, last, entries }: SealRow,
): Promise<ChainProblem[]> {
  const rows = await readHashedEntries(tx, orgId, { after, upTo: last });
  const sealed = new Map(entries.map(({ auditId, hash }) => [auditId, hash]));
  const there = new Set(rows.map(({ auditId }) => auditId));
  const problems: ChainProblem[] = [];
  for (const { auditId } of entries) {
    if (!there.has(auditId)) problems.push({ type: "deleted", seal, auditId });
  }
  for (const row of rows) {
    const hash = sealed.get(row.auditId);
    if (hash === undefined) problems.push({ type: "added", seal, auditId: row.auditId });
    else if (!entryHash(row).equals(hash)) problems.push({ type: "edited", seal, auditId: row.auditId });
  }
  const isInOrder = entries.every(({ auditId }, index) => rows[index]?.auditId === auditId);
  if (problems.length === 0 && !isInOrder) problems.push({ type: "reordered", seal, auditId: null });
  return problems;
}

function headProblems(kept: ChainHead | null, seals: readonly SealRow[], end: number | null): ChainProblem[] {
  if (kept === null) return [];
  const there = seals.find(({ seal }) => seal === kept.seal);
  const isOther = there !== undefined && hexOf(there.hash) !== kept.hash;
  const isBeyond = end !== null && kept.seal > end;
  return isOther || isBeyond ? [{ type: "head", seal: kept.seal, auditId: null }] : [];
}

function hexOf(hash: Uint8Array): string {
  return Buffer.from(hash).toString("hex");
}

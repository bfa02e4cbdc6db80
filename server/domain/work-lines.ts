import type { Tx } from "../store/database.ts";
import { readWorkerFacts } from "../store/explain.ts";
import { countReady, type ReadyLineRow } from "../store/ready-lines.ts";
import { readOrgByIndex } from "../store/snapshot.ts";
import { readWorkers } from "../store/workers.ts";
import type { Caller, Coordinator } from "./context.ts";
import { invalidArgument, notFound } from "./errors.ts";
import { limitFix } from "./explain-gates.ts";
import { encodeId } from "./ids.ts";
import { type Hold, holdOf, type Routing, readLines, routesOf } from "./routing.ts";
import { gateParts } from "./rules/gate-standing.ts";
import {
  closedReason,
  fullReason,
  incapableReason,
  listed,
  missingSkills,
  type UnfitReason,
  unfitDetail,
  type WorkerFacts,
} from "./rules/routing.ts";
import type { TargetRoute } from "./rules/session-routes.ts";
import { shellWord } from "./rules/shell-words.ts";
import { nameViolations, slugRule } from "./rules/texts.ts";
import { selectWorker, type WorkerName, type WorkerView } from "./workers.ts";

/** Lines that an answer shows at most. */
const mostShown = 200;

/** Ready jobs that are counted at most. */
const mostReady = 10_000;

/** Skills and kinds that somebody who looks for work may name. */
const mostNames = 200;

/** The ready jobs of one sort, and whether a worker could run them. */
export interface WorkLineView {
  readonly kind: string;
  readonly queue: string;
  readonly skills: readonly string[];
  readonly points: number;
  readonly project: string | null;
  readonly pool: string | null;
  /** Counted up to 10,000. */
  readonly ready: number;
  readonly firstJobId: string;
  readonly readyAt: Date;
  readonly priority: number;
  /** Why the worker does not run them, or the gate that holds them back; null: it could. */
  readonly reason: UnfitReason | "queue" | "pool" | "project" | null;
  readonly detail: string;
}

/** Why a worker is idle. */
export interface WorkerExplanation {
  readonly worker: WorkerView;
  readonly summary: string;
  /** Those that it could run first, in their order; then the others; at most 200. */
  readonly lines: readonly WorkLineView[];
  /** What would bring it work. */
  readonly fixes: readonly string[];
}

/** Which work there is for somebody. */
export interface WorkView {
  /** Ready jobs that it could run; counted up to 10,000. */
  readonly ready: number;
  /** In the order in which they would be offered; at most 200. */
  readonly lines: readonly WorkLineView[];
}

/** Explains what keeps a worker from work, and which ready jobs it could and could not run. */
export async function explainWorker(
  c: Pick<Coordinator, "db" | "config">,
  { orgId }: Pick<Caller, "orgId">,
  name: WorkerName,
): Promise<WorkerExplanation> {
  const { selection, shown } = selectWorker(name);
  const { staleMs } = c.config;
  return readOrgByIndex(c.db.app, orgId, async (tx) => {
    const [worker] = selection ? await readWorkers(tx, orgId, selection, staleMs) : [];
    if (worker === undefined) throw notFound("WORKER_NOT_FOUND", shown);
    const { routing, lines } = await readLines(tx, orgId, { staleMs });
    const facts = routing.workersById.get(worker.workerId) ?? (await factsOf(tx, orgId, worker, staleMs));
    const judged = judgeLines(routing, lines, facts);
    const first = [...judged.filter(isRunnable), ...judged.filter((one) => !isRunnable(one))];
    const shownLines = first.slice(0, mostShown);
    const counts = await countReady(tx, orgId, shapeIds(shownLines), mostReady);
    return {
      worker,
      summary: summaryOf(facts, judged),
      lines: shownLines.map((one, index) => lineView(one, counts[index] ?? 0)),
      fixes: fixesOf(facts, judged),
    };
  });
}

/** Looks for work for somebody with these skills, who holds nothing. */
export async function checkWork(
  c: Pick<Coordinator, "db" | "config">,
  { orgId }: Pick<Caller, "orgId">,
  request: {
    readonly skills: readonly string[];
    /** What it could take; 0: any size. */
    readonly points: number;
    /** What it has handlers for; empty: anything. */
    readonly kinds: readonly string[];
  },
): Promise<WorkView> {
  const { skills, points, kinds } = request;
  const violations = [
    ...namesViolations("skills", skills),
    ...namesViolations("kinds", kinds),
    ...(Number.isInteger(points) && points >= 0 && points <= 1_000_000
      ? []
      : [{ field: "points", message: "must be from 0 to 1000000" }]),
  ];
  if (violations.length > 0) throw invalidArgument(violations);
  return readOrgByIndex(c.db.app, orgId, async (tx) => {
    const { routing, lines } = await readLines(tx, orgId, c.config);
    const runnable = judgeLines(routing, lines, somebody({ skills, points, kinds })).filter(isRunnable);
    const shown = runnable.slice(0, mostShown);
    const counts = await countReady(tx, orgId, shapeIds(shown), mostReady);
    const ready = counts.reduce((sum, count) => sum + count, 0);
    return {
      ready: Math.min(mostReady, ready),
      lines: shown.map((one, index) => lineView(one, counts[index] ?? 0)),
    };
  });
}

interface JudgedLine {
  readonly line: ReadyLineRow;
  readonly target: TargetRoute;
  /** What keeps the worker from all work; what keeps it from this; what it has no room for. */
  readonly closed: UnfitReason | null;
  readonly incapable: UnfitReason | null;
  readonly full: UnfitReason | null;
  readonly hold: Hold | null;
  readonly facts: WorkerFacts;
}

function judgeLines(routing: Routing, lines: readonly ReadyLineRow[], facts: WorkerFacts): JudgedLine[] {
  const routes = routesOf(routing);
  const closed = closedReason(facts);
  return lines.map((line) => {
    const target = routes(line.shape.target);
    return {
      line,
      target,
      closed,
      incapable: incapableReason(facts, line.shape, target.route),
      full: fullReason(facts, line.shape),
      hold: holdOf(routing, line.shape),
      facts,
    };
  });
}

// Whether it could run them if it took jobs and had room.
function isCapable({ incapable }: JudgedLine): boolean {
  return incapable === null;
}

function isRunnable({ closed, incapable, full, hold }: JudgedLine): boolean {
  return (closed ?? incapable ?? full) === null && hold === null;
}

function lineView(judged: JudgedLine, ready: number): WorkLineView {
  const { line, closed, incapable, full, hold, facts, target } = judged;
  const { kind, queue, skills, points, project, pool } = line.shape;
  const reason = closed ?? incapable ?? full;
  const detailOf = (one: UnfitReason | null) => unfitDetail(one, facts, line.shape, target);
  const besides =
    closed === null ? "" : `; otherwise it ${incapable === null ? "could run them" : detailOf(incapable)}`;
  return {
    ...{ kind, queue, skills, points, project, pool, ready },
    firstJobId: line.jobId,
    readyAt: line.readyAt,
    priority: line.priority,
    reason: reason ?? (hold === null ? null : holdName(hold)),
    detail: reason === null && hold !== null ? holdDetail(hold) : `${detailOf(reason)}${besides}`,
  };
}

function summaryOf(facts: WorkerFacts, judged: readonly JudgedLine[]): string {
  const closed = closedReason(facts);
  if (closed !== null) return `It gets no jobs: it ${closedText[closed] ?? closed}.`;
  if (judged.length === 0) return "No job of the org is ready.";
  const capable = judged.filter(isCapable);
  if (capable.length === 0) {
    return `Ready jobs are there, but none that it could run: ${reasonsText(judged)}.`;
  }
  if (judged.some(isRunnable)) return "Jobs that it can run are ready: it is about to get one.";
  const held = capable.flatMap(({ hold }) => (hold === null ? [] : [hold]));
  const [first] = held;
  if (first !== undefined && held.length === capable.length) {
    return `All ready jobs that it could run are held back: ${first.key.replace(":", " ")} is ${first.standing.detail}.`;
  }
  const full = capable.find(({ full: reason }) => reason !== null);
  return full === undefined
    ? "Jobs that it could run are held back."
    : `It has no room: ${unfitDetail(full.full, facts, full.line.shape, full.target)}.`;
}

const closedText: Readonly<Partial<Record<UnfitReason, string>>> = {
  offline: "is not connected",
  stale: "is silent",
  disabled: "was disabled by an operator",
  draining: "drains",
  quarantined: "is quarantined",
  pending: "waits for approval",
  "off-hours": "is outside of its hours",
  "open-prs": "has as many open pull requests as it may",
  suspect: "leaves a cancel without an answer",
};

function reasonsText(judged: readonly JudgedLine[]): string {
  const count = (reason: UnfitReason) => judged.filter((one) => one.incapable === reason).length;
  const texts: readonly (readonly [UnfitReason, string])[] = [
    ["kind", "of kinds that it has no handler for"],
    ["skills", "that need other skills"],
    ["points", "that are larger than it"],
    ["target", "that are for other workers"],
    ["avoided", "that avoid it"],
  ];
  return listed(texts.flatMap(([reason, text]) => (count(reason) === 0 ? [] : [`${count(reason)} ${text}`])));
}

function fixesOf(facts: WorkerFacts, judged: readonly JudgedLine[]): string[] {
  const fixes: string[] = [];
  const closed = closedReason(facts);
  const id = facts.workerId === "" ? "" : encodeId("worker", facts.workerId);
  if (closed === "offline" || closed === "stale")
    fixes.push("Repair its link: look at its machine and its log");
  if (closed === "draining" || closed === "quarantined")
    fixes.push(`Let it take jobs: muster worker resume ${id}`);
  if (closed === "pending") fixes.push(`Approve it: muster worker approve ${id}`);
  if (closed === "off-hours")
    fixes.push("Wait for its hours, or let its owner change them: muster worker availability");
  if (closed === "open-prs")
    fixes.push("Merge or close its pull requests, or allow it more: muster worker limit");
  if (closed === "disabled") fixes.push(`Enable it: muster worker enable ${id}`);
  if (closed === "suspect") fixes.push("Look at the handler that does not stop, or restart the worker");
  if (judged.length === 0) fixes.push("Submit jobs: muster job submit");
  if (judged.some(isRunnable)) return fixes;
  const holds = new Map(
    judged.filter(isCapable).flatMap(({ hold }) => (hold === null ? [] : [[hold.key, hold] as const])),
  );
  for (const { key, standing } of [...holds.values()].slice(0, 3)) {
    const { type, name } = gateParts(key);
    if (standing.closedBy !== null) fixes.push(limitFix(type, shellWord(name), standing.closedBy));
  }
  if (judged.some(isCapable)) return fixes;
  const of = (reason: UnfitReason) => judged.filter((one) => one.incapable === reason);
  const [skilled] = of("skills");
  if (skilled !== undefined) {
    fixes.push(`Give it the skills ${listed(missingSkills(facts, skilled.line.shape))}`);
  }
  const kinds = [...new Set(of("kind").map(({ line }) => line.shape.kind))];
  if (kinds.length > 0) fixes.push(`Give it a handler for ${listed(kinds)}`);
  const sizes = of("points").map(({ line }) => line.shape.points);
  if (sizes.length > 0) fixes.push(`Give it at least ${Math.min(...sizes)} points`);
  return fixes;
}

function holdName({ key }: Hold): "queue" | "kind" | "pool" | "project" {
  const { type } = gateParts(key);
  return type === "queue" || type === "kind" || type === "pool" ? type : "project";
}

function holdDetail({ key, standing }: Hold): string {
  const { type, name } = gateParts(key);
  return `${type} ${name} is ${standing.detail}`;
}

function shapeIds(judged: readonly JudgedLine[]): bigint[] {
  return judged.map(({ line }) => line.shape.shapeId);
}

function namesViolations(field: string, names: readonly string[]) {
  if (names.length > mostNames) return [{ field, message: `must have at most ${mostNames} entries` }];
  return names.flatMap((name, index) => nameViolations(`${field}[${index}]`, name, slugRule));
}

// Somebody who holds nothing and is nobody's target.
function somebody(of: {
  readonly skills: readonly string[];
  readonly points: number;
  readonly kinds: readonly string[];
}): WorkerFacts {
  return {
    ...noFacts,
    isAttached: true,
    kinds: of.kinds.length === 0 ? null : new Set(of.kinds),
    skills: new Set(of.skills),
    points: of.points === 0 ? Number.MAX_SAFE_INTEGER : of.points,
    slots: 1,
  };
}

// One beyond those that a look takes in.
async function factsOf(
  tx: Tx,
  orgId: string,
  { workerId }: WorkerView,
  staleMs: number,
): Promise<WorkerFacts> {
  const [facts] = await readWorkerFacts(tx, orgId, { staleMs, limit: 1, of: { workerId } });
  return facts ?? { ...noFacts, workerId };
}

const noFacts: WorkerFacts = {
  workerId: "",
  name: "",
  isAttached: false,
  isStale: false,
  isDisabled: false,
  isDraining: false,
  isQuarantined: false,
  isPending: false,
  isOffHours: false,
  hours: null,
  openPrs: 0,
  maxOpenPrs: null,
  refusals: [],
  isSuspect: false,
  kinds: new Set(),
  skills: new Set(),
  slots: 0,
  points: 0,
  slotsUsed: 0,
  pointsUsed: 0,
  runsAlone: false,
};

/** How a check went: as it should be; works, and will not for ever; does not work; was not tried. */
export type CheckLevel = "ok" | "warn" | "fail" | "skip";

/** What a check found. */
export interface Finding {
  readonly level: CheckLevel;
  readonly detail: string;
  /** Empty when nothing is to be done. */
  readonly fix: string;
}

/** As it should be. */
export function ok(detail: string): Finding {
  return { level: "ok", detail, fix: "" };
}

/** Was not tried. */
export function skip(detail: string): Finding {
  return { level: "skip", detail, fix: "" };
}

/** The oldest Postgres that is tested. */
export const oldestPostgres = 150_000;

/** Judges the version of Postgres. */
export function judgeVersion(version: string, number: number): Finding {
  if (number >= oldestPostgres) return ok(`Postgres ${version}`);
  return fail(
    `Postgres ${version} is older than what Muster is tested with`,
    "Move to Postgres 15 or newer.",
  );
}

/** Judges settings that are off and should not be. */
export function judgeDurability(off: readonly string[]): Finding {
  if (off.length === 0) return ok("what is committed survives a crash");
  const risk = off.includes("fsync") || off.includes("full_page_writes");
  const detail = `${off.join(", ")} off: a crash may ${risk ? "ruin the database" : "lose commits that were answered"}`;
  return { level: risk ? "fail" : "warn", detail, fix: `Set ${off.join(", ")} to on.` };
}

/** Judges how far the database's clock is ahead of this machine's. Only the database's decides anything. */
export function judgeClock(aheadMs: number): Finding {
  const detail = `the database is ${seconds(Math.abs(aheadMs))} ${aheadMs < 0 ? "behind" : "ahead"}`;
  if (Math.abs(aheadMs) <= 5_000) return ok(detail);
  return warn(`${detail} of this machine`, "Let both machines set their clocks by NTP.");
}

/** Judges how many connections are left. */
export function judgeConnections(used: number, most: number): Finding {
  const detail = `${used} of ${most} in use`;
  const fix = "Raise max_connections, or lower --app-connections and --hot-connections.";
  if (used >= 0.95 * most) return fail(detail, fix);
  return used >= 0.8 * most ? warn(detail, fix) : ok(detail);
}

/** A transaction that is open; see `OpenTransaction` of the store. */
interface Open {
  readonly pid: number | null;
  readonly application: string;
  readonly state: string | null;
  readonly ageMs: number | null;
  readonly isWriting: boolean;
}

/** Judges open transactions, the oldest first: one that has written holds the change feed back for everybody. */
export function judgeTransactions(open: readonly Open[]): Finding {
  const writer = open.find(({ isWriting }) => isWriting);
  if (writer !== undefined && (writer.ageMs ?? 0) > 10_000) {
    const finding = (writer.ageMs ?? 0) > 60_000 ? fail : warn;
    return finding(`${nameOf(writer)} holds the change feed back: watches stand still`, endText(writer));
  }
  const oldest = open.toSorted((a, b) => (b.ageMs ?? 0) - (a.ageMs ?? 0))[0];
  if (oldest !== undefined && (oldest.ageMs ?? 0) > 300_000) {
    return warn(`${nameOf(oldest)} holds the clean-up of rows back: tables grow`, endText(oldest));
  }
  if (writer !== undefined && writer.ageMs === null) {
    return ok(
      `${open.length} open; their age is hidden from the owner of the tables (grant pg_read_all_stats)`,
    );
  }
  return ok(oldest === undefined ? "none is open" : `${open.length} open, the oldest for ${age(oldest)}`);
}

/** Judges how many migrations the database has. */
export function judgeMigrations(applied: number, known: number): Finding {
  if (applied === known) return ok(`${applied} applied`);
  const detail = `${applied} applied, this version knows ${known}`;
  if (applied > known) return warn(detail, "A newer coordinator migrated it: upgrade this one, too.");
  return fail(detail, "Restart this coordinator: it migrates the database at its start.");
}

/** Judges how far ahead the daily partitions reach. `names` are like `jobs_20261122`. */
export function judgePartitions(names: readonly string[], nowMs: number): Finding {
  const there = new Set(names);
  const reach = ["jobs", "attempts", "log_chunks"].map((table) => {
    let days = 0;
    while (there.has(`${table}_${dayText(nowMs + days * dayMs)}`)) days++;
    return { table, days };
  });
  const [least = { table: "", days: 0 }] = reach.toSorted((a, b) => a.days - b.days);
  const fix = "Look in the log for the loop `partitions`; a restart of a coordinator makes them, too.";
  if (least.days === 0) return fail(`${least.table} has none for today`, fix);
  const detail = `made for ${least.days} ${least.days === 1 ? "day" : "days"}, today's included`;
  return least.days < 3 ? warn(detail, fix) : ok(detail);
}

/** Judges how long a note took through the database; null: it did not come. */
export function judgeNotify(tookMs: number | null): Finding {
  if (tookMs !== null) return ok(`${Math.round(tookMs)} ms there and back`);
  const fix = "Connect without a pooler in transaction mode: LISTEN needs a session of its own.";
  return warn("a notification did not come back: coordinators find each other's news by polling", fix);
}

/** Judges how old the news is that the change feed cannot tell yet. */
export function judgeFeed(lagMs: number | null): Finding {
  if (lagMs === null) return ok("nothing waits");
  const detail = `news is held back for ${seconds(lagMs)}`;
  const fix = "End the transaction that database.oldest-transaction names.";
  if (lagMs > 60_000) return fail(detail, fix);
  return lagMs > 10_000 ? warn(detail, fix) : ok(detail);
}

/** A coordinator, as it shows its life. */
interface Seen {
  readonly coordinatorId: string;
  readonly apiAddress: string;
  readonly version: string;
  readonly seenAt: Date;
}

/** Judges the coordinators: all seen lately, all of one version. */
export function judgeCoordinators(all: readonly Seen[], nowMs: number): Finding {
  const gone = all.filter(({ seenAt }) => nowMs - seenAt.getTime() > seenMs);
  const live = liveOf(all, nowMs);
  const versions = [...new Set(live.map(({ version }) => version))].sort();
  if (versions.length > 1) {
    const detail = `${live.length} of different versions: ${versions.join(", ")}`;
    return warn(detail, "Upgrade all of them; two versions at once are meant for the time of an upgrade.");
  }
  const [first] = gone;
  if (first === undefined) return ok(`${live.length} alive, version ${versions[0] ?? "unknown"}`);
  const named = `${first.apiAddress} for ${seconds(nowMs - first.seenAt.getTime())}`;
  const others = gone.length > 1 ? ` and ${gone.length - 1} more` : "";
  return warn(
    `${live.length} alive; not seen: ${named}${others}`,
    "It ended without a stop, or cannot reach the database: look at its log. It is forgotten after an hour.",
  );
}

/** Judges where artifacts are kept, as files of this machine. */
export function judgeArtifactSharing(all: readonly Seen[], nowMs: number, directory: string): Finding {
  const live = liveOf(all, nowMs).length;
  if (live < 2) return skip("one coordinator");
  return warn(
    `${live} coordinators, and artifacts are files of this one, in ${directory}`,
    "Put --artifacts-dir on storage that all of them share.",
  );
}

/** Judges the memory of the process. */
export function judgeMemory(facts: {
  readonly rssBytes: number;
  readonly memoryLimitBytes: number;
  readonly heapBytes: number;
  readonly heapLimitBytes: number;
}): Finding {
  const { rssBytes, memoryLimitBytes, heapBytes, heapLimitBytes } = facts;
  const share = Math.max(rssBytes / memoryLimitBytes, heapBytes / heapLimitBytes);
  const detail =
    `${mebibytes(rssBytes)} of ${mebibytes(memoryLimitBytes)} MiB, ` +
    `heap ${mebibytes(heapBytes)} of ${mebibytes(heapLimitBytes)} MiB`;
  const fix =
    "Give it more memory (the heap: NODE_OPTIONS=--max-old-space-size), or start another coordinator.";
  if (share > 0.95) return fail(detail, fix);
  return share > 0.8 ? warn(detail, fix) : ok(detail);
}

/** Judges how late the event loop was at most. */
export function judgeLoop(delayMs: number): Finding {
  const detail = `at most ${Math.round(delayMs)} ms late in the last minutes`;
  if (delayMs <= 1_000) return ok(detail);
  return warn(detail, "The machine is overloaded: give it more CPU, or start another coordinator elsewhere.");
}

/** Judges the version of Node: old ones have known holes in HTTP/2. */
export function judgeNode(version: string): Finding {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const leastMinor = fixedMinors.get(major);
  const isOld = leastMinor !== undefined && minor < leastMinor;
  if (major >= 22 && !isOld) return ok(`Node ${version}`);
  return warn(`Node ${version} has a known leak in HTTP/2`, "Upgrade to Node 24.14 or newer, or 22.22.2.");
}

/** Judges when a certificate ends; null: there is no TLS. */
export function judgeCertificate(endsAt: Date | null, nowMs: number): Finding {
  if (endsAt === null) return skip("without TLS");
  const day = endsAt.toISOString().slice(0, 10);
  const days = Math.floor((endsAt.getTime() - nowMs) / dayMs);
  const fix = "Renew it, and restart this coordinator.";
  if (days < 0) return fail(`the certificate ended on ${day}`, fix);
  const detail = `the certificate ends on ${day}, in ${days} ${days === 1 ? "day" : "days"}`;
  return days < 14 ? warn(detail, fix) : ok(detail);
}

/** Judges whether keys cross a network in the clear. */
export function judgeListeners(hosts: readonly string[], hasTls: boolean): Finding {
  if (hasTls) return ok("with TLS");
  const open = hosts.filter((host) => !/^(127(\.\d{1,3}){3}|::1|localhost)$/i.test(host));
  if (open.length === 0) return ok("this machine alone, without TLS");
  return warn(
    `${[...new Set(open)].join(", ")} without TLS: keys are sent in the clear, unless a proxy in front has TLS`,
    "Give --tls-cert and --tls-key, or listen on loopback behind a proxy with TLS.",
  );
}

const dayMs = 86_400_000;
/** Three signs of life. */
const seenMs = 15_000;
const fixedMinors: ReadonlyMap<number, number> = new Map([
  [22, 22],
  [24, 14],
]);

function warn(detail: string, fix: string): Finding {
  return { level: "warn", detail, fix };
}

function fail(detail: string, fix: string): Finding {
  return { level: "fail", detail, fix };
}

function liveOf(all: readonly Seen[], nowMs: number): readonly Seen[] {
  return all.filter(({ seenAt }) => nowMs - seenAt.getTime() <= seenMs);
}

function nameOf(open: Open): string {
  const who = open.application === "" ? "a session without a name" : open.application;
  const pid = open.pid === null ? "" : ` (pid ${open.pid})`;
  return `${who}${pid}, ${open.state ?? "state unknown"}, open for ${age(open)},`;
}

function endText({ pid }: Open): string {
  if (pid === null) return "Commit or roll back the prepared transaction: select * from pg_prepared_xacts;";
  return `End it where it was begun, or: select pg_terminate_backend(${pid});`;
}

function age({ ageMs }: Open): string {
  return ageMs === null ? "an unknown time" : seconds(ageMs);
}

function seconds(ms: number): string {
  return ms < 10_000 ? `${(ms / 1_000).toFixed(1)} s` : `${Math.round(ms / 1_000)} s`;
}

function mebibytes(bytes: number): number {
  return Math.round(bytes / 1024 / 1024);
}

function dayText(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10).replaceAll("-", "");
}

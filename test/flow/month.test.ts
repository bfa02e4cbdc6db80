import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { type Alert, AlertCondition, AlertService } from "@muster/client/v1/alert_service";
import {
  type CatchUpPolicy,
  type Fire,
  FireOutcome,
  type OverlapPolicy,
  ScheduleService,
} from "@muster/client/v1/schedule_service";
import postgres from "postgres";
import { afterEach, expect, test } from "vitest";
import { migrateDatabase } from "../../server/store/migrate.ts";
import { startTestServer, type TestServer } from "../support/coordinator.ts";
import {
  type Expected,
  foretellOutcomes,
  foretellTimes,
  type PlannedSchedule,
} from "../support/fire-oracle.ts";
import { startOwnPostgres } from "../support/own-postgres.ts";
import { movableClock, onServer, testSecret } from "../support/postgres.ts";

const [minuteMs, hourMs, dayMs] = [60_000, 3_600_000, 86_400_000];
// Summer time begins in New York and Berlin, and ends in Sydney and Santiago.
const startMs = Date.parse("2027-03-10T00:00:00Z");
const endMs = startMs + 30 * dayMs;
/** Nothing looks at the schedules for 30 hours. */
const outage = { fromMs: startMs + 20 * dayMs, toMs: startMs + 21.25 * dayMs };
/** The channel answers 503. */
const channelDown = { fromMs: startMs + 12 * dayMs, toMs: startMs + 13 * dayMs };
const throttleMs = 20 * hourMs;

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const plans = planSchedules();

test("a month unattended: each fire once and as foretold, each alert told, whatever breaks", async () => {
  const times = new Map(plans.map((plan) => [plan.name, foretellTimes(plan, startMs, endMs)]));
  const steps = planSteps(times);
  const own = await startOwnPostgres();
  closers.push(() => own.close());
  await migrateDatabase({ url: own.url, secret: testSecret });
  await onServer(own.url, movableClock);
  const admin = postgres(own.url, { max: 2, onnotice: () => {} });
  closers.push(() => admin.end({ timeout: 1 }));
  const moveTo = (ms: number) => admin`update muster.clock_offset
    set ahead = ${ms / 1_000}::float8 * interval '1 second' - (statement_timestamp() - 'epoch')`;
  await moveTo(startMs - minuteMs / 2);

  const channel = await startChannel();
  const muster = await startTestServer({
    ...{ databaseUrl: own.url, maxAttempts: 1, outboundAllow: ["127.0.0.1"], scheduleHistoryMs: 365 * dayMs },
    // No jump of the clock ends the worker's link.
    ...{ heartbeatMs: 500, staleMs: 10 * dayMs, reclaimAfterMs: 20 * dayMs },
  });
  closers.push(() => muster.close());
  const alerts = muster.client(AlertService);
  await putRules(muster, channel.url);
  for (const plan of plans) await put(muster, plan);
  await muster.startWorker({
    slots: 16,
    handlers: {
      ok: () => {},
      fail: () => {
        throw new Error("no luck");
      },
    },
  });
  let peer = await startPeer(muster, own.url);
  closers.push(() => peer.kill("SIGKILL"));

  const outcomes = new Map(
    plans.map((plan) => [plan.name, foretellOutcomes(plan, times.get(plan.name) ?? [], steps)]),
  );
  let dead = 0;
  let restarted: Promise<ChildProcess> | null = null;
  let kills = 0;
  let previousMs = startMs - 1;
  for (const [index, stepMs] of steps.entries()) {
    channel.isDown = stepMs >= channelDown.fromMs && stepMs < channelDown.toMs;
    await moveTo(stepMs);
    if (index % 12 === 6) {
      if (restarted) peer = await restarted;
      peer.kill("SIGKILL");
      kills++;
      restarted = startPeer(muster, own.url);
    }
    if (index === Math.floor(steps.length / 2)) {
      await own.crash();
      await own.start();
    }
    await settled(admin);
    const died = plans
      .filter(({ kind }) => kind === "fail")
      .flatMap(({ name }) => [...(outcomes.get(name) ?? [])])
      .filter(([ms, outcome]) => ms > previousMs && ms <= stepMs && outcome === "submitted").length;
    dead += died;
    previousMs = stepMs;
    const isBeforeOutage = stepMs < outage.fromMs && (steps[index + 1] ?? 0) >= outage.toMs;
    if (died > 0 || isBeforeOutage || index === steps.length - 1) {
      await lookAtRules(admin, dead);
    }
  }
  if (restarted) peer = await restarted;

  // Each fire time that there was is in the history once, with what was foretold.
  const jobIds: string[] = [];
  let missed = 0;
  for (const plan of plans) {
    const history = await historyOf(muster, plan.name);
    const expected = outcomes.get(plan.name) ?? new Map<number, Expected>();
    expect(spread(history, [...expected.keys()]), plan.name).toEqual(
      [...expected].map(([ms, outcome]) => `${new Date(ms).toISOString()} ${outcome}`),
    );
    jobIds.push(...history.flatMap(({ jobId }) => (jobId === "" ? [] : [jobId])));
    missed += [...expected.values()].filter((outcome) => outcome === "missed").length;
  }
  // And each made one job.
  expect(new Set(jobIds).size).toBe(jobIds.length);
  const [made] = await admin`select count(*)::int as jobs from muster.jobs`;
  expect(made?.["jobs"]).toBe(jobIds.length);
  expect(jobIds.length).toBeGreaterThan(1_500);
  expect(kills).toBeGreaterThan(3);

  // Each death and each missed time is in an alert, and each message was told once.
  const all = await alertsOf(muster);
  const occurrences = (rule: string) =>
    all.filter((one) => one.rule === rule).reduce((sum, one) => sum + Number(one.occurrences), 0);
  expect(dead).toBeGreaterThan(30);
  expect({ dead: occurrences("dead"), missed: occurrences("missed") }).toEqual({ dead, missed });
  await moveTo(endMs + hourMs);
  await expect.poll(async () => pending(admin), { timeout: 15_000 }).toBe(0);
  const deliveries = new Map(
    (await alertsOf(muster)).flatMap((one) =>
      one.deliveries.map((delivery) => [delivery.deliveryId, delivery]),
    ),
  );
  expect([...deliveries.values()].filter(({ state }) => state !== "sent")).toEqual([]);
  const accepted = channel.posts.filter(({ isAccepted }) => isAccepted);
  expect(new Set(accepted.map(({ id }) => id))).toEqual(new Set(deliveries.keys()));
  // Only a coordinator that is killed between a message and its note says it again.
  expect(accepted.length - deliveries.size).toBeLessThanOrEqual(kills);
  const refused = new Set(channel.posts.filter(({ isAccepted }) => !isAccepted).map(({ id }) => id));
  // A channel that fails is tried with one message at a time: how many it refused is a matter of when it was tried.
  expect(refused.size).toBeGreaterThan(0);
  for (const id of refused)
    expect(
      accepted.filter((post) => post.id === id),
      id,
    ).toHaveLength(1);
  expect((await alerts.getAlertChannel({ name: "hook" })).channel?.failingSince).toBeUndefined();
  expectThrottled(channel.posts);
}, 400_000);

interface Post {
  readonly id: string;
  readonly isAccepted: boolean;
  readonly body: { type: string; timestamp: string; data: { rule: string; alerts: { group: string }[] } };
}

/** 200 schedules: each cron in each zone, with the policies in turn. */
function planSchedules(): PlannedSchedule[] {
  const zones = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Sydney",
    "America/Santiago",
  ];
  const crons = [
    ...["0 0 * * *", "30 2 * * *", "@daily", "0 12 * * 1-5", "0 6 1,15 * *", "0 18 * * 0", "@weekly"],
    ...["0 */6 * * *", "5 0 9 * * *", "15 2 * * *", "0 3 * * *", "0,30 1-3 * * 0", "45 23 * * *"],
    ...["0 4-5 * * 2,4", "30 12 * 4 *", "0 21 28-31 * *", "@every 360m", "@every 1440m", "0 16 * 3-4 6"],
    ...["20 7 * * *", "0 10 * * 1", "0 23 */5 * *", "10 1 * * *", "50 2 * * *", "0 14 * * 3", "@every 4320m"],
    ...["0 8 * * *", "0 20 * * *", "0 22 * * 5", "30 0 * * 1-6", "0 17 2-9 * *"],
  ];
  const overlaps = ["skip", "queue", "replace", "allow"] as const;
  const catchUps = ["none", "one", "all"] as const;
  const planned = zones.flatMap((zone, z) =>
    crons.map((cron, n): PlannedSchedule => {
      const number = z * crons.length + n;
      return {
        ...{ name: `s${number}`, cron, zone, jitterMs: 0 },
        ...{ overlap: overlaps[(n + z) % 4] ?? "skip", catchUp: catchUps[(n + 2 * z) % 3] ?? "one" },
        ...{ limit: 1 + (number % 4), kind: number % 11 === 0 ? "held" : "ok" },
      };
    }),
  );
  const base = { zone: "UTC", jitterMs: 0, overlap: "allow", catchUp: "one", limit: 3, kind: "ok" } as const;
  return [
    ...planned,
    { ...base, name: "fail.a", cron: "0 12 * * *", catchUp: "none", kind: "fail" },
    { ...base, name: "fail.b", cron: "0 12 */2 * *", catchUp: "all", kind: "fail" },
    { ...base, name: "minutes", cron: "* * * * *", catchUp: "all" },
    { ...base, name: "minutes.none", cron: "* * * * *", catchUp: "none" },
    { ...base, name: "hours", cron: "@hourly", zone: "America/Santiago", overlap: "skip" },
    {
      ...base,
      name: "hours.sydney",
      cron: "15 * * * *",
      zone: "Australia/Sydney",
      overlap: "queue",
      catchUp: "all",
    },
    ...Array.from({ length: 200 - planned.length - 6 }, (_, n) => ({
      ...{ ...base, name: `late${n}`, cron: "0 5 * * *", zone: zones[n % 6] ?? "UTC" },
      ...{ jitterMs: 30 * minuteMs, catchUp: "all" as const, limit: 1_000 },
    })),
  ];
}

/** When the clock stands where: 10 s after fire times, some left out; each jump is an outage for what lies between. */
function planSteps(times: ReadonlyMap<string, readonly number[]>): number[] {
  let seed = 7;
  const random = (): number => {
    seed = (seed * 16_807) % 2_147_483_647;
    return seed / 2_147_483_647;
  };
  const rare = plans.filter(({ name }) => !/^(minutes|hours|late)/.test(name));
  const at = (names: readonly PlannedSchedule[]) =>
    new Set(names.flatMap(({ name }) => (times.get(name) ?? []).map((ms) => ms - (ms % minuteMs) + 10_000)));
  const always = at(rare.filter(({ kind }) => kind === "fail"));
  const some = [...at(rare)].filter((ms) => always.has(ms) || random() < 0.04);
  const inOutage = (ms: number): boolean => ms >= outage.fromMs && ms < outage.toMs;
  const kept = some.filter((ms) => !inOutage(ms) && ms < endMs).sort((a, b) => a - b);
  return [...kept, endMs + 10_000];
}

async function startPeer(muster: TestServer, databaseUrl: string): Promise<ChildProcess> {
  const flags = {
    ...{ "data-dir": join(muster.folder, "peer"), "max-attempts": "1", "outbound-allow": "127.0.0.1" },
    ...{ heartbeat: "500ms", stale: "1h", "reclaim-after": "24h", "schedule-history": "365d" },
  };
  const path = new URL("../support/coordinator-process.ts", import.meta.url).pathname;
  const parameters = JSON.stringify({ flags, databaseUrl, secret: testSecret });
  const child = spawn(process.execPath, [path, parameters], {
    stdio: ["ignore", "ignore", "inherit", "pipe"],
  });
  closers.push(() => child.kill("SIGKILL"));
  await createInterface({ input: child.stdio[3] as Readable })
    [Symbol.asyncIterator]()
    .next();
  return child;
}

async function startChannel(): Promise<{ url: string; posts: Post[]; isDown: boolean }> {
  const server: Server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const isAccepted = !channel.isDown;
    const body = JSON.parse(Buffer.concat(chunks).toString());
    channel.posts.push({ id: String(request.headers["webhook-id"]), isAccepted, body });
    response.writeHead(isAccepted ? 200 : 503).end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  closers.push(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const channel = { url, posts: [] as Post[], isDown: false };
  return channel;
}

async function putRules(muster: TestServer, url: string): Promise<void> {
  const alerts = muster.client(AlertService);
  await alerts.putAlertChannel({ channel: { name: "hook", target: { case: "webhook", value: { url } } } });
  const throttle = { seconds: BigInt(throttleMs / 1_000) };
  const rules = [
    { name: "dead", condition: AlertCondition.JOB_DEAD },
    // So that no jump of the clock carries what was missed past a look.
    { name: "missed", condition: AlertCondition.SCHEDULE_MISSED, window: { seconds: 86_400n } },
  ];
  for (const rule of rules) await alerts.putAlertRule({ rule: { ...rule, channels: ["hook"], throttle } });
}

async function put(muster: TestServer, plan: PlannedSchedule): Promise<void> {
  const { name, cron, zone, jitterMs, overlap, catchUp, limit, kind } = plan;
  const overlaps = { skip: 1, queue: 2, replace: 3, allow: 4 } satisfies Record<string, OverlapPolicy>;
  const catchUps = { none: 1, one: 2, all: 3 } satisfies Record<string, CatchUpPolicy>;
  await muster.client(ScheduleService).putSchedule({
    schedule: {
      ...{ name, cron, zone, job: { kind }, startTime: timestampFromMs(startMs), catchUpLimit: limit },
      ...{
        overlap: overlaps[overlap],
        catchUp: catchUps[catchUp],
        jitter: { seconds: BigInt(jitterMs / 1_000) },
      },
    },
    createOnly: true,
  });
}

/** Resolves when nothing is due, and nothing runs. */
async function settled(admin: postgres.Sql): Promise<void> {
  const left = async (): Promise<unknown> => {
    const [row] = await admin`select
      (select count(*)::int from muster.schedules where due_at <= muster.muster_clock()) as due,
      (select count(*)::int from muster.job_queue q
        join muster.jobs j on j.org_id = q.org_id and j.job_id = q.job_id where j.kind <> 'held') as live`.catch(
      () => [],
    );
    return row;
  };
  await expect.poll(left, { interval: 25, timeout: 45_000 }).toEqual({ due: 0, live: 0 });
}

/** Has the rules looked at until all deaths are in their alerts, and what is missed. */
async function lookAtRules(admin: postgres.Sql, dead: number): Promise<void> {
  const told = async (): Promise<unknown> => {
    const [row] = await admin`select
      coalesce(sum(occurrences) filter (where rule = 'dead'), 0)::int as dead from muster.alerts`;
    if (row?.["dead"] !== dead)
      await admin`update muster.alert_rules set due_at = muster.muster_clock() where due_at > muster.muster_clock()`;
    return row?.["dead"];
  };
  await expect.poll(told, { interval: 200, timeout: 30_000 }).toBe(dead);
  await admin`update muster.alert_rules set due_at = muster.muster_clock() where name = 'missed'`;
  const looked = async (): Promise<unknown> => {
    const [row] = await admin`select
      (select bool_and(due_at > muster.muster_clock()) from muster.alert_rules where name = 'missed') as is_looked`;
    return row?.["is_looked"];
  };
  await expect.poll(looked, { interval: 50, timeout: 30_000 }).toBe(true);
}

async function pending(admin: postgres.Sql): Promise<unknown> {
  const [row] = await admin`select count(*)::int as n from muster.alert_deliveries where state = 'pending'`;
  return row?.["n"];
}

async function historyOf(muster: TestServer, name: string): Promise<Fire[]> {
  const found: Fire[] = [];
  let pageToken = "";
  do {
    const page = await muster.client(ScheduleService).listFires({ name, pageSize: 1_000, pageToken });
    found.push(...page.fires);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return found.reverse();
}

async function alertsOf(muster: TestServer): Promise<Alert[]> {
  const found: Alert[] = [];
  let pageToken = "";
  do {
    const page = await muster.client(AlertService).listAlerts({ pageSize: 1_000, pageToken });
    found.push(...page.alerts);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return found;
}

/** The history, a line for each time, in their order; one that stands for many has as many as it says. */
function spread(history: readonly Fire[], times: readonly number[]): string[] {
  const line = (ms: number, outcome: FireOutcome) =>
    [ms, `${new Date(ms).toISOString()} ${FireOutcome[outcome].toLowerCase()}`] as const;
  return history
    .flatMap(({ fireTime, lastTime, outcome, count }) => {
      const [fromMs, toMs] = [fireTime && timestampMs(fireTime), lastTime && timestampMs(lastTime)];
      if (fromMs === undefined || toMs === undefined) return [];
      if (count === 1n) return [line(fromMs, outcome)];
      const stoodFor = times.filter((ms) => ms >= Math.floor(fromMs / 1_000) * 1_000 && ms <= toMs);
      expect(BigInt(stoodFor.length)).toBe(count);
      return stoodFor.map((ms) => line(ms, outcome));
    })
    .sort(([a], [b]) => a - b)
    .map(([, text]) => text);
}

/** No group of a rule is told again within its throttle, by when the messages were made. */
function expectThrottled(posts: readonly Post[]): void {
  const byId = new Map(posts.map((post) => [post.id, post.body]));
  const firings = [...byId.values()].filter(({ type }) => type === "alert.firing");
  const told = firings
    .map(({ timestamp, data }) => ({ ms: Date.parse(timestamp), rule: data.rule, alerts: data.alerts }))
    .sort((a, b) => a.ms - b.ms);
  const lastMs = new Map<string, number>();
  for (const { ms, rule, alerts } of told) {
    for (const { group } of alerts) {
      const key = `${rule} ${group}`;
      expect(ms - (lastMs.get(key) ?? Number.NEGATIVE_INFINITY), key).toBeGreaterThanOrEqual(throttleMs);
      lastMs.set(key, ms);
    }
  }
  expect(told.length).toBeGreaterThan(30);
}

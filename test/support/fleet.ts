import { randomUUID } from "node:crypto";
import { Dispatcher } from "../../server/dispatch/dispatcher.ts";
import { type Grant, Link, type LinkPort } from "../../server/dispatch/link.ts";
import type { Caller } from "../../server/domain/context.ts";
import { type Attached, attachLink, type Hello } from "../../server/domain/links.ts";
import type { JobRequest } from "../../server/domain/rules/job-spec.ts";
import { nothingPublished } from "../../server/domain/rules/publications.ts";
import { inOrg } from "../../server/store/database.ts";
import { insertWorker } from "../../server/store/workers.ts";
import { type TestCoordinator, testCaller } from "./database.ts";

/** A worker that is attached without a stream: what it is offered is written down. */
export interface TestWorker {
  readonly caller: Caller;
  readonly attached: Attached;
  readonly link: Link;
  readonly offered: Grant[];
  readonly cancelled: string[];
  /** Resolves with the offered leases when there are so many. */
  offers(count: number): Promise<Grant[]>;
}

/** A job with defaults. */
export function jobRequest(overrides: Partial<JobRequest> = {}): JobRequest {
  return {
    kind: "test.echo",
    title: "",
    payload: '{"n":1}',
    queue: "default",
    priority: 128,
    points: 1,
    skills: [],
    project: null,
    labels: {},
    externalId: null,
    runAt: null,
    deadline: null,
    softTimeoutMs: null,
    hardTimeoutMs: null,
    exclusive: false,
    atMostOnce: false,
    instructions: [],
    opensPullRequest: true,
    pool: null,
    dependsOn: [],
    dependencyPolicy: "cancel",
    ref: null,
    ...overrides,
  };
}

/** A dispatcher of a test's coordinator, and its end. */
export function testDispatcher(c: TestCoordinator): Dispatcher {
  return new Dispatcher({
    ...c,
    staleMs: c.config.staleMs,
    nowMs: () => performance.now(),
  });
}

/** A Hello with defaults. */
export function hello(overrides: Partial<Hello> = {}): Hello {
  return {
    bootId: randomUUID(),
    hostBootId: "host",
    endedBoots: [],
    areOrphansDead: false,
    isDraining: false,
    transport: "stream",
    held: [],
    outbox: [],
    published: nothingPublished,
    declared: {
      skills: [],
      kinds: ["test.echo"],
      slots: 4,
      points: 4,
      labels: {},
      version: "test",
      host: "test",
    },
    ...overrides,
  };
}

/** Registers and attaches a worker; with a dispatcher, it gets offers. */
export async function attachWorker(
  c: TestCoordinator,
  orgId: string,
  options: {
    readonly name: string;
    readonly hello?: Hello;
    readonly dispatcher?: Dispatcher;
    readonly caller?: Caller;
  },
): Promise<TestWorker> {
  const caller = options.caller ?? (await workerCaller(c, orgId, options.name));
  const said = options.hello ?? hello();
  const attached = await attachLink(c, caller, said);
  const offered: Grant[] = [];
  const cancelled: string[] = [];
  let wake = () => {};
  const port: LinkPort = {
    offer: (_, grants) => {
      offered.push(...grants);
      wake();
    },
    cancel: (fence) => cancelled.push(fence.leaseId),
    command: () => {},
    goAway: () => {},
  };
  const link = new Link({
    orgId,
    workerId: attached.workerId,
    workerName: attached.workerName,
    linkEpoch: attached.linkEpoch,
    skills: attached.declared.skills.map((skill) => skill.name),
    kinds: attached.declared.kinds,
    slots: attached.declared.slots,
    points: attached.declared.points,
    isDraining: said.isDraining,
    isHeldBack: attached.isHeldBack,
    maxOpenPrs: attached.maxOpenPrs,
    openPrs: attached.openPrs,
    port,
    nowMs: performance.now(),
  });
  options.dispatcher?.attach(link);
  return {
    caller,
    attached,
    link,
    offered,
    cancelled,
    async offers(count) {
      while (offered.length < count) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      return offered;
    },
  };
}

/** Registers a worker; answers who calls with its key. */
export async function workerCaller(c: TestCoordinator, orgId: string, name: string): Promise<Caller> {
  const workerId = c.newId();
  await inOrg(c.db.app, orgId, (tx) => insertWorker(tx, { orgId, workerId, name }));
  return testCaller(orgId, { actor: `worker:${name}`, type: "worker", workerId, scopes: ["work", "read"] });
}

import { durationMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type { ConnectRequest, ConnectResponse } from "@muster/client/v1/link";
import type { WorkerService } from "@muster/client/v1/worker_service";
import { DomainError } from "../domain/errors.ts";
import { listParentResults } from "../domain/parent-results.ts";
import { readDocument } from "../domain/skills.ts";
import { callerOf } from "../rpc/auth.ts";
import { type Problems, readLease, refuseProblems, required } from "../rpc/messages.ts";
import { readHello } from "./frames-in.ts";
import { parentResult, skillDocument } from "./frames-out.ts";
import { Mailbox } from "./mailbox.ts";
import type { LinkParts } from "./parts.ts";
import { PollLinks } from "./poll-links.ts";
import { LinkSession } from "./session.ts";

const maxPollMs = 30_000;
const defaultPollMs = 10_000;

/** The worker service: one stream, and its unary twins. The same for both listeners. */
export function workerService(
  parts: LinkParts,
): ServiceImpl<typeof WorkerService> & { readonly polls: PollLinks } {
  const polls = new PollLinks(parts);
  return {
    polls,
    connect: (requests, context) => serveStream(parts, requests, context),
    async attach({ hello }, context) {
      if (!hello) throw new DomainError("HELLO_EXPECTED");
      return { welcome: await polls.attach(callerOf(context), hello) };
    },
    async poll({ linkEpoch, demand, wait }, context) {
      const poll = polls.of(callerOf(context), linkEpoch);
      poll.session.receive(request({ case: undefined }, demand));
      const waitMs = wait ? Math.min(durationMs(wait), maxPollMs) : defaultPollMs;
      return { frames: await poll.fetch(waitMs, context.signal) };
    },
    async answer({ linkEpoch, reply }, context) {
      const poll = polls.of(callerOf(context), linkEpoch);
      return reply ? { ack: await poll.answer(reply) } : {};
    },
    async report({ linkEpoch, report, cancelStatuses }, context) {
      const poll = polls.of(callerOf(context), linkEpoch);
      for (const status of cancelStatuses) poll.session.acknowledgeCancel(status);
      return report ? { ack: { items: await poll.session.commitReport(report) } } : {};
    },
    async submitResults({ results, demand }, context) {
      const caller = callerOf(context);
      const items = await polls.submitResults(caller, results?.results ?? []);
      if (demand) polls.find(caller)?.session.receive(request({ case: undefined }, demand));
      return { ack: { items } };
    },
    async changeLinks({ linkEpoch, links }, context) {
      const poll = polls.of(callerOf(context), linkEpoch);
      return links ? { ack: await poll.changeLinks(links) } : {};
    },

    async listParentResults({ lease, pageToken }, context) {
      const problems: Problems = [];
      const held = required(problems, "lease", lease) ? readLease(problems, "lease", lease) : null;
      refuseProblems(problems);
      if (held === null) throw new Error("a lease without problems was read");
      const asked = { lease: held, pageToken };
      const { items, nextPageToken } = await listParentResults(parts.coordinator, callerOf(context), asked);
      return { parentResults: items.map(parentResult), nextPageToken };
    },
    async getSkillDocument({ skill, digest }, context) {
      const text = await readDocument(parts.coordinator, callerOf(context), { skill, digest });
      return { document: { ...skillDocument({ skill, digest }), text } };
    },
    async createJobToken({ lease }, context) {
      const problems: Problems = [];
      const held = required(problems, "lease", lease) ? readLease(problems, "lease", lease) : null;
      refuseProblems(problems);
      if (held === null) throw new Error("a lease without problems was read");
      return { token: await parts.createJobToken(callerOf(context), held) };
    },
    async renew({ linkEpoch, heartbeat }, context) {
      const poll = polls.of(callerOf(context), linkEpoch);
      return heartbeat ? { ack: await poll.renew(heartbeat) } : {};
    },
  };
}

async function* serveStream(
  parts: LinkParts,
  requests: AsyncIterable<ConnectRequest>,
  context: HandlerContext,
): AsyncGenerator<ConnectResponse> {
  const iterator = requests[Symbol.asyncIterator]();
  const first = await firstFrame(iterator, parts.config.helloTimeoutMs, context.signal);
  if (first.frame.case !== "hello") throw new DomainError("HELLO_EXPECTED");
  const hello = readHello(first.frame.value, "stream");
  const caller = callerOf(context);
  parts.admission.admit(caller, hello);
  let session: LinkSession | undefined;
  const mailbox = new Mailbox(parts.nowMs, () => session?.tooSlow("the worker reads too slowly"));
  session = await LinkSession.open(parts, caller, mailbox, hello, first.demand ?? first.frame.value.demand);
  const opened = session;
  // What the worker says is read as it comes; its end, however it comes, ends the link.
  const reading = readAll(iterator, opened);
  try {
    yield* mailbox.frames(context.signal);
  } finally {
    opened.end();
    // Not awaited: it waits behind a frame that a silent worker never sends.
    void iterator.return?.();
    void reading;
  }
}

async function readAll(iterator: AsyncIterator<ConnectRequest>, session: LinkSession): Promise<void> {
  try {
    for (let next = await iterator.next(); !next.done; next = await iterator.next())
      session.receive(next.value);
  } catch {
    // A broken stream is not an error of ours: the worker connects again.
  } finally {
    session.end();
  }
}

async function firstFrame(
  iterator: AsyncIterator<ConnectRequest>,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<ConnectRequest> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const expire = () => reject(new DomainError("HELLO_EXPECTED"));
  const timer = setTimeout(expire, timeoutMs);
  signal.addEventListener("abort", expire, { once: true });
  try {
    const next = await Promise.race([iterator.next(), late]);
    if (next.done) throw new DomainError("HELLO_EXPECTED");
    return next.value;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", expire);
  }
}

function request(frame: ConnectRequest["frame"], demand: ConnectRequest["demand"]): ConnectRequest {
  return { $typeName: "muster.v1.ConnectRequest", frame, ...(demand ? { demand } : {}) };
}

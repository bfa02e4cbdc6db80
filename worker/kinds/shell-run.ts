import { finished } from "node:stream/promises";
import type { BootRecord } from "../boot-record.ts";
import { withinMs } from "../clock.ts";
import { defineHandler, type Handler, type JobContext, type JobToken } from "../context.ts";
import { JobFailure } from "../failure.ts";
import type { Isolation, Place } from "../isolation.ts";
import { type ProcessExit, type ProcessGroup, startProcessGroup } from "../process-group.ts";
import { ProcessStartError, type StartOptions } from "../process-start.ts";
import { Stop } from "../stop.ts";
import { durationText } from "../text.ts";
import { readShellPayload, type ShellPayload } from "./shell-payload.ts";
import { Tail } from "./tail.ts";

/** What comes of a `shell.run` job. */
export interface ShellResult {
  /** Null when a signal ended the program. */
  readonly exitCode: number | null;
  /** E.g. `SIGSEGV`; null when the program exited. */
  readonly signal: string | null;
  /** The end of its standard output. */
  readonly stdoutTail: string;
  /** The end of its standard error. */
  readonly stderrTail: string;
  /** From start to exit. */
  readonly durationMs: number;
}

/** What `shell.run` needs of the worker. */
export interface ShellRunOptions {
  /** The worker's own environment, of which only the allowed names are passed on. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Names passed on besides PATH, HOME, LANG, LC_*, TZ and TMPDIR. */
  readonly envAllow: readonly string[];
  /** Where process groups are recorded, so that the next boot kills what a crash leaves; asked at each job. */
  readonly bootRecord: () => Pick<BootRecord, "addGroup" | "removeGroup"> | undefined;
  /** Where programs run; asked at each job. Default: as the worker's own user. */
  readonly isolation?: () => Isolation | undefined;
}

/** Names of variables whose values are secrets. */
const secretName =
  /(PASSWORD|PASSWD|SECRET|TOKEN|PRIVATE_KEY|ACCESS_KEY|API_KEY|SECRET_KEY|CREDENTIALS?|CONNECTION_STRING)$/i;
const passedOn = ["PATH", "HOME", "LANG", "TZ", "TMPDIR"];
/** How long output may stay open once every process of the job is gone. */
const outputGraceMs = 2000;

/**
 * The built-in kind `shell.run`: starts a program, never through a shell, in a process group of its own. Output
 * is streamed as log. At the soft timeout a `system` line of the log warns; the program gets no signal, and has
 * both timeouts in its environment from the start. A request to stop kills the whole group. Exit codes other than
 * `okExitCodes` are a retryable failure EXIT_NONZERO; a program that is not there is COMMAND_NOT_FOUND, which is
 * not.
 */
export function shellRun(options: ShellRunOptions): Handler<unknown, ShellResult> {
  return defineHandler<unknown, ShellResult>(async (ctx) => {
    const payload = readShellPayload(ctx.payload);
    // The id alone: a lease's token is no business of the program.
    const marker = `MUSTER_MARK=${ctx.job.id}.${ctx.job.attempt}`;
    const record = options.bootRecord();
    const recordId = marker;
    const place = await openPlace(ctx, options);
    try {
      await record?.addGroup({ leaseId: recordId, pid: 0, startTimeTicks: null, marker, ...cgroupOf(place) });
      ctx.signal.throwIfAborted();
      return await runGroup(ctx, payload, { options, marker, recordId, place });
    } finally {
      await place?.end();
      await record?.removeGroup(recordId);
    }
  });
}

interface Run {
  readonly options: ShellRunOptions;
  readonly marker: string;
  readonly recordId: string;
  readonly place: Place | undefined;
}

async function openPlace(ctx: JobContext, options: ShellRunOptions): Promise<Place | undefined> {
  const isolation = options.isolation?.();
  try {
    const place = await isolation?.begin(ctx.job.kind, ctx.project?.root ?? undefined);
    ctx.isolatedBy(place?.level ?? "none");
    if (place?.level === "bwrap")
      ctx.log.system(
        `runs in a sandbox, ${place.hasNetwork ? "with the host's network" : "without a network"}`,
      );
    else if (place?.level === "uid") ctx.log.system("runs as a user of its own");
    return place;
  } catch (error) {
    throw startFailure(error);
  }
}

function cgroupOf(place: Place | undefined): { readonly cgroup?: string } {
  return place?.cgroup === undefined ? {} : { cgroup: place.cgroup.path };
}

async function runGroup(ctx: JobContext, payload: ShellPayload, run: Run): Promise<ShellResult> {
  const token = payload.api ? await ctx.token() : null;
  const startedMs = performance.now();
  const cwd = payload.cwd ?? ctx.project?.root ?? undefined;
  const env = { ...environment(ctx, payload, run), ...tokenVariables(token) };
  for (const [name, value] of Object.entries(env)) if (secretName.test(name)) ctx.addSecret(value);
  const program = {
    argv: payload.argv,
    env,
    marker: run.marker,
    ...(cwd === undefined || cwd === "" ? {} : { cwd }),
  };
  const group = startProcessGroup(startOptions(program, run.place));
  const { outputEnded, tails } = follow(ctx, group, payload.outputTailBytes);
  const { pid, startTimeTicks } = group;
  const { recordId: leaseId, marker } = run;
  const recorded =
    pid === 0
      ? undefined
      : run.options.bootRecord()?.addGroup({ leaseId, pid, startTimeTicks, marker, ...cgroupOf(run.place) });
  group.stdin.end(payload.stdin);
  ctx.onSoftTimeout(() => warnOfSoftTimeout(ctx));
  const { exit, stop } = await orStopped(ctx.signal, group);
  const durationMs = Math.round(performance.now() - startedMs);
  await withinMs(outputGraceMs, outputEnded, undefined);
  await recorded;
  if (stop !== undefined) throw stop;
  const result = {
    exitCode: exit.code,
    signal: exit.signal,
    stdoutTail: tails.stdout.text(),
    stderrTail: tails.stderr.text(),
    durationMs,
  };
  if (exit.code === null || !payload.okExitCodes.includes(exit.code)) throw exitFailure(payload, result);
  return result;
}

// The allowed part of the worker's environment, then what the job asks for, then what the job must not forge.
function environment(
  ctx: JobContext,
  payload: ShellPayload,
  { options, place }: Run,
): Record<string, string> {
  const env: Record<string, string> = {};
  for (const [name, value] of Object.entries(options.env)) {
    const isAllowed = passedOn.includes(name) || name.startsWith("LC_") || options.envAllow.includes(name);
    if (isAllowed && value !== undefined) env[name] = value;
  }
  const home = place?.home;
  if (home !== undefined) Object.assign(env, { HOME: home, TMPDIR: place?.level === "uid" ? home : "/tmp" });
  const { softTimeoutMs, hardTimeoutMs } = ctx.job;
  const { MUSTER_SOFT_TIMEOUT_MS: _soft, MUSTER_HARD_TIMEOUT_MS: _hard, ...own } = { ...env, ...payload.env };
  return {
    ...own,
    MUSTER_JOB_ID: ctx.job.id,
    MUSTER_ATTEMPT: String(ctx.job.attempt),
    MUSTER_IDEMPOTENCY_KEY: ctx.idempotencyKey,
    ...(softTimeoutMs === undefined ? {} : { MUSTER_SOFT_TIMEOUT_MS: String(softTimeoutMs) }),
    ...(hardTimeoutMs === undefined ? {} : { MUSTER_HARD_TIMEOUT_MS: String(hardTimeoutMs) }),
  };
}

// What the job must not forge either.
function tokenVariables(token: JobToken | null): Record<string, string> {
  return token === null ? {} : { MUSTER_ADDRESS: token.address, MUSTER_API_KEY: token.key };
}

function startOptions(program: StartOptions, place: Place | undefined): StartOptions {
  try {
    return place === undefined ? program : place.startOptions(program);
  } catch (error) {
    throw startFailure(error);
  }
}

// No signal: one that the program does not expect would end it.
function warnOfSoftTimeout(ctx: JobContext): void {
  if (ctx.signal.aborted) return;
  const { softTimeoutMs, hardTimeoutMs } = ctx.job;
  const soft =
    softTimeoutMs === undefined ? "the soft timeout" : `soft timeout of ${durationText(softTimeoutMs)}`;
  const leftMs = (hardTimeoutMs ?? 0) - (softTimeoutMs ?? 0);
  const next =
    hardTimeoutMs === undefined
      ? "it has no hard timeout"
      : `it will be stopped at the hard timeout in ${durationText(Math.max(0, leftMs))}`;
  ctx.log.system(`${soft} passed; ${next}`);
}

function follow(ctx: JobContext, group: ProcessGroup, tailBytes: number) {
  const tails = { stdout: new Tail(tailBytes), stderr: new Tail(tailBytes) };
  for (const name of ["stdout", "stderr"] as const) {
    // Before the tail is cut: half a secret is not found any more.
    const clean = ctx.redacting();
    const take = (text: string) => {
      ctx.log[name](text);
      tails[name].push(Buffer.from(text));
    };
    group[name].on("data", (chunk: Buffer) => take(clean.push(chunk)));
    group[name].once("end", () => take(clean.end()));
  }
  const ends = [group.stdout, group.stderr].map((stream) => finished(stream).catch(() => {}));
  return { outputEnded: Promise.all(ends).then(() => {}), tails };
}

/** Waits until nothing of the group is left; a request to stop kills it first. */
async function orStopped(
  signal: AbortSignal,
  group: ProcessGroup,
): Promise<{ exit: ProcessExit; stop?: Stop }> {
  const stopping = Promise.withResolvers<Stop>();
  const ask = () => stopping.resolve(stopOf(signal.reason));
  if (signal.aborted) ask();
  else signal.addEventListener("abort", ask, { once: true });
  try {
    const exited = group.exited.catch((cause: unknown) => {
      throw startFailure(cause);
    });
    const first = await Promise.race([exited, stopping.promise]);
    if (!(first instanceof Stop)) {
      await group.gone;
      return { exit: first };
    }
    const how = await group.stop({ graceMs: first.graceMs, signal: first.hurry });
    first.killed = how === "killed";
    return { exit: await exited, stop: first };
  } finally {
    signal.removeEventListener("abort", ask);
  }
}

function stopOf(reason: unknown): Stop {
  return reason instanceof Stop ? reason : new Stop({ kind: "shutdown", reason: String(reason), graceMs: 0 });
}

function startFailure(cause: unknown): JobFailure {
  if (!(cause instanceof ProcessStartError))
    return new JobFailure(String(cause), { code: "START_FAILED", cause });
  const code = cause.code === "NOT_FOUND" ? "COMMAND_NOT_FOUND" : `COMMAND_${cause.code}`;
  const retryable = cause.code === "NO_RESOURCES";
  return new JobFailure(`${cause.message}. ${cause.suggestion}`, { code, retryable, detail: "", cause });
}

function exitFailure(payload: ShellPayload, result: ShellResult): JobFailure {
  const how = result.exitCode === null ? `was ended by ${result.signal}` : `exited with ${result.exitCode}`;
  const tail = result.stderrTail.trim() === "" ? result.stdoutTail : result.stderrTail;
  const code = result.exitCode === null ? "EXIT_SIGNAL" : "EXIT_NONZERO";
  return new JobFailure(`${payload.argv[0]} ${how}`, { code, detail: tail });
}

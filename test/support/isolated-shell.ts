import { spawnSync } from "node:child_process";
import { LogStream } from "@muster/client/v1/event";
import type { Result } from "@muster/client/v1/link";
import type { IsolationOptions } from "../../worker/isolation.ts";
import { shellRun } from "../../worker/kinds/shell-run.ts";
import type { WorkerOptions } from "../../worker/options.ts";
import { WorkerBench } from "./worker-bench.ts";
import type { LeaseInit } from "./worker-peer.ts";

/** This process is root: it may start programs as other users. */
export const isRoot = process.getuid?.() === 0;

/** Bubblewrap is here, and user namespaces are allowed. */
export const hasBwrap =
  spawnSync("bwrap", ["--unshare-user", "--ro-bind", "/", "/", "true"], { stdio: "ignore" }).status === 0;

/** A worker with the kind shell.run under an isolation, and how jobs are given to it. */
export async function openShell(isolation: IsolationOptions = {}, options: Partial<WorkerOptions> = {}) {
  const bench = await WorkerBench.open();
  const env = { PATH: "/usr/bin:/bin", HOME: "/root", LC_ALL: "C" };
  const worker = bench.worker({
    isolation,
    handlers: {
      "shell.run": shellRun({
        env,
        envAllow: [],
        bootRecord: () => worker.bootRecord,
        isolation: () => worker.isolation,
      }),
    },
    ...options,
  });
  await worker.start();
  const submit = (payload: unknown, init: LeaseInit = {}) => {
    const value = Buffer.from(JSON.stringify(payload));
    const content = { case: "data" as const, value };
    const lease = bench.peer.lease({ ...init, kind: "shell.run", payload: { content } });
    bench.peer.offer(lease);
    return lease.lease;
  };
  const items = () =>
    bench.peer.received.flatMap(({ request: { frame } }) =>
      frame.case === "report" ? frame.value.items : [],
    );
  const text = () =>
    items()
      .map(({ body }) =>
        body.case === "log" && body.value.stream !== LogStream.SYSTEM ? body.value.text : "",
      )
      .join("");
  const run = async (payload: unknown, init: LeaseInit = {}) => {
    const lease = submit(payload, init);
    const result = await bench.peer.resultOf(lease.leaseId);
    return { result, ...read(result) };
  };
  /** What a script of the shell prints on both outputs. */
  const script = async (lines: string, init: LeaseInit = {}): Promise<string> => {
    const payload = { argv: ["sh", "-c", `exec 2>&1\n${lines}`], okExitCodes: [...Array(256).keys()] };
    const { json, outcome } = await run({ ...payload, outputTailBytes: 65_536 }, init);
    return json?.stdoutTail ?? JSON.stringify(outcome);
  };
  return {
    bench,
    peer: bench.peer,
    submit,
    run,
    script,
    items,
    text,
    [Symbol.asyncDispose]: () => bench[Symbol.asyncDispose](),
  };
}

function read({ outcome }: Result) {
  const content = outcome.case === "success" ? outcome.value.result?.content.value : undefined;
  return {
    outcome,
    json: content instanceof Uint8Array ? JSON.parse(Buffer.from(content).toString()) : null,
  };
}

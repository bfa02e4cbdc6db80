import type { Call } from "../call.ts";
import type { Cli } from "../command.ts";
import type { CheckLevel, CheckResult } from "../doctor/check.ts";
import { makeChecks } from "../doctor/checks.ts";
import { checkClient } from "../doctor/client.ts";
import { checkWorker } from "../doctor/worker.ts";
import { usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { didYouMean } from "../input/suggest.ts";
import type { Style } from "../output/paint.ts";
import { sanitize } from "../output/sanitize.ts";
import { pad } from "../output/width.ts";
import { checkServer } from "./doctor-server.ts";

interface DoctorOptions {
  readonly deep?: boolean;
  readonly keyFile?: string;
  readonly listener?: string;
  readonly stateDir?: string;
}

const parts = ["client", "worker", "server"] as const;

/** Registers `muster doctor`. */
export function registerDoctor(cli: Cli): void {
  cli.program
    .command("doctor [part]")
    .description("Check what Muster needs, thing by thing, each with what to do about it.")
    .examples(
      "muster doctor                                  # from here to the coordinator, and its own side",
      "muster doctor client --json",
      "muster doctor worker --key-file gpu-1.key --deep",
      "muster doctor server",
    )
    .option("--deep", "worker: let a job run on it, too")
    .option("--key-file <path>", "worker: file that holds its key (MUSTER_WORKER_KEY_FILE)")
    .option("--listener <host:port>", "worker: the coordinator's worker listener (host of --address, 7071)")
    .option("--state-dir <path>", "worker: where its results wait, as worker run has it")
    .notes(
      "Parts are client, worker and server; without one: client and server. Exits with 11 if something\n" +
        "does not work.",
    )
    .action(
      cli.action(
        async (call, part: string | undefined, options: DoctorOptions) => {
          const known = parts.find((one) => one === part);
          if (part !== undefined && known === undefined) {
            throw usageError(
              `doctor has no part ${JSON.stringify(part)}`,
              didYouMean(part, parts) ?? `Parts are ${parts.join(", ")}.`,
            );
          }
          return report(call, await runChecks(call, known, options));
        },
        { toleratesConfig: true },
      ),
    );
}

async function runChecks(
  call: Call,
  part: (typeof parts)[number] | undefined,
  options: DoctorOptions,
): Promise<readonly CheckResult[]> {
  if (part === "worker") {
    const { keyFile, stateDir, deep } = options;
    const listener = options.listener ?? `${new URL(call.context().address).hostname}:7071`;
    return checkWorker(call, { keyFile, listener, stateDir, isDeep: deep === true });
  }
  if (part === "server") return serverChecks(call);
  const client = await checkClient(call);
  if (part === "client") return client;
  const isKnown = client.some(
    ({ id, level }) => id === "client.auth" && level !== "fail" && level !== "skip",
  );
  return isKnown ? [...client, ...(await serverChecks(call))] : client;
}

// That the coordinator cannot be asked is a failed check, too.
async function serverChecks(call: Call): Promise<readonly CheckResult[]> {
  const checks = makeChecks(call);
  let made: readonly CheckResult[] = [];
  await checks.add("server.answers", async () => {
    made = await checkServer(call);
    return { level: "ok", detail: call.context().address };
  });
  return [...checks.results, ...made.map((one) => ({ ...one, tookMs: Math.round(one.tookMs) }))];
}

function report(call: Call, results: readonly CheckResult[]): number {
  const { output } = call;
  const failed = results.filter(({ level }) => level === "fail").length;
  const warned = results.filter(({ level }) => level === "warn").length;
  output.printValue(
    { checks: results },
    () => results.flatMap((one) => lines(call, one)),
    () => results.filter(({ level }) => level === "fail").map(({ id }) => sanitize(id)),
  );
  const done = results.filter(({ level }) => level !== "skip").length;
  output.note(`${done} checks: ${failed} failed, ${warned} to look at.`);
  return failed > 0 ? exitCodes.checkFailed : exitCodes.done;
}

function lines({ output }: Call, { id, level, tookMs, detail, fix }: CheckResult): string[] {
  const safe = sanitize(detail);
  if (!output.isTty) return [[level, sanitize(id), `${tookMs}ms`, safe, sanitize(fix)].join("\t")];
  const { glyph, ascii, style } = looks[level];
  const mark = output.paint(style, output.glyphs === "ascii" ? ascii : `${glyph} ${pad(level, 4)}`);
  const head = `${mark}  ${pad(sanitize(id), 24)}  ${safe}`;
  return fix === "" ? [head] : [head, `        ${output.paint("dim", "fix:")} ${sanitize(fix)}`];
}

const looks: Readonly<Record<CheckLevel, { glyph: string; ascii: string; style: Style }>> = {
  ok: { glyph: "✔", ascii: "+ ok  ", style: "green" },
  warn: { glyph: "▲", ascii: "! warn", style: "yellow" },
  fail: { glyph: "✖", ascii: "x fail", style: "red" },
  skip: { glyph: "·", ascii: ". skip", style: "dim" },
};

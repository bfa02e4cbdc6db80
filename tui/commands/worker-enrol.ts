import { randomUUID } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createMusterTransport } from "@muster/client/node";
import {
  EnrolmentService,
  EnrolOwnWorkerResponseSchema,
  EnrolResponseSchema,
} from "@muster/client/v1/enrolment_service";
import type { Worker } from "@muster/client/v1/worker";
import { WorkerApproval } from "@muster/client/v1/worker";
import type { Call } from "../call.ts";
import type { Cli, MusterCommand } from "../command.ts";
import { usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { readText, systemReason } from "../input/files.ts";
import { writeKey } from "../input/key-file.ts";
import { sanitize } from "../output/sanitize.ts";

interface EnrolOptions {
  readonly tokenFile?: string;
  readonly keyFile: string;
}

/** Registers `muster worker enrol`. */
export function registerEnrol(worker: MusterCommand, cli: Cli): void {
  worker
    .command("enrol [name]")
    .description(
      "Make a worker of this machine: with a token, or as an own machine of yours when you are signed in.",
    )
    .examples(
      "muster worker enrol --token-file lab.token --key-file worker.key",
      "muster worker enrol mac --key-file mac.key    # your own machine, as the org allows",
      "muster worker run --key-file worker.key",
    )
    .option("--token-file <path>", "file with the token of an enrolment; - is stdin")
    .requiredOption("--key-file <path>", "write the worker's key to this new file, for your user alone")
    .notes(
      "Run again after a lost answer within a minute, with the same key file, it gets the same worker.\n" +
        "Without a token it needs a name.",
    )
    .action(
      cli.action(async (call, name: string | undefined, { tokenFile, keyFile }: EnrolOptions) => {
        if (tokenFile === undefined) return enrolOwn(call, name, keyFile);
        const token = (await readText(tokenFile, "--token-file", call.surroundings)).trim();
        const { address, tls } = call.context();
        const { response } = await enrolMachine(call, { address, tls, token, name: name ?? "", keyFile });
        call.output.print({
          schema: EnrolResponseSchema,
          message: create(EnrolResponseSchema, { ...response, key: "" }),
          text: () => [enrolledLine(response.worker)],
          names: () => [response.worker?.workerId ?? ""],
        });
        call.output.note(`Its key is in ${keyFile}. Start it: muster worker run --key-file ${keyFile}`);
        return exitCodes.done;
      }),
    );
}

/** What a machine enrols with. */
export interface MachineEnrolment {
  /** URL of the coordinator's API. */
  readonly address: string;
  readonly tls: ReturnType<Call["context"]>["tls"];
  readonly token: string;
  /** Empty: the server makes one. */
  readonly name: string;
  readonly keyFile: string;
}

/**
 * Enrols this machine with a token, and leaves the worker's key in a new file. Until the key is there the file holds the
 * id of the request, so that a command that was cut short is repeated, and not begun anew.
 */
export async function enrolMachine(call: Call, { address, tls, token, name, keyFile }: MachineEnrolment) {
  const requestId = claimRequest(call, keyFile);
  const transport = createMusterTransport({
    address,
    httpVersion: "1.1",
    key: token,
    ...(tls.ca === undefined ? {} : { ca: tls.ca }),
    ...(tls.certificate === undefined ? {} : { certificate: tls.certificate }),
  });
  const client = createClient(EnrolmentService, transport);
  const host = hostname().slice(0, 200);
  const request = { name, host, machine: machineName(host), requestId };
  const response = await repeated(call, () => client.enrol(request, call.once()));
  keepKey(call, keyFile, response);
  return { response, key: response.key };
}

function keepKey(
  { surroundings }: Call,
  keyFile: string,
  { key, worker }: { readonly key: string; readonly worker?: Worker | undefined },
): void {
  const name = worker?.name ?? "";
  const suggestion = `Remove it with \`muster worker remove ${name}\`, and enrol again.`;
  writeKey(surroundings, keyFile, { key, made: "the machine is enrolled", suggestion });
}

/** Whether a file holds the key of a worker, and not the beginning of an enrolment. */
export function isKeyThere(call: Call, keyFile: string): boolean {
  const path = resolve(call.surroundings.cwd, keyFile);
  return existsSync(path) && pendingRequest(path) === undefined;
}

const pendingForm = /^# enrolling ([0-9a-f-]{36})\s*$/;

function pendingRequest(path: string): string | undefined {
  return pendingForm.exec(readFileSync(path, "utf8"))?.[1];
}

function claimRequest({ surroundings }: Call, keyFile: string): string {
  const path = resolve(surroundings.cwd, keyFile);
  const begun = existsSync(path) ? pendingRequest(path) : undefined;
  if (begun !== undefined) return begun;
  const requestId = randomUUID();
  try {
    writeFileSync(path, `# enrolling ${requestId}\n`, { mode: 0o600, flag: "wx" });
  } catch (cause) {
    throw usageError(`--key-file: cannot make ${keyFile}: ${systemReason(cause)}`, "Name a new file.");
  }
  return requestId;
}

// Containers of one image may have the id of the machine in common, and not the host name.
function machineName(host: string): string {
  try {
    return `${host} ${readFileSync("/etc/machine-id", "utf8").trim()}`.slice(0, 200);
  } catch {
    return host || "unknown";
  }
}

const retryMs = [500, 1_000, 2_000];

// The token is used up by the first call that arrives: its answer may be lost.
async function repeated<Answer>(call: Call, ask: () => Promise<Answer>): Promise<Answer> {
  for (const waitMs of retryMs) {
    try {
      return await ask();
    } catch (error) {
      const { code } = ConnectError.from(error);
      if (code !== Code.Unavailable && code !== Code.DeadlineExceeded) throw error;
      await delay(waitMs, undefined, { signal: call.signal });
    }
  }
  return ask();
}

async function enrolOwn(call: Call, name: string | undefined, keyFile: string): Promise<number> {
  if (name === undefined) {
    throw usageError(
      "an own machine needs a name",
      "Write it like: muster worker enrol mac --key-file mac.key",
    );
  }
  claimRequest(call, keyFile);
  const response = await call.client(EnrolmentService).enrolOwnWorker({ name }, call.once());
  keepKey(call, keyFile, response);
  call.output.print({
    schema: EnrolOwnWorkerResponseSchema,
    message: create(EnrolOwnWorkerResponseSchema, { ...response, key: "" }),
    text: () => [enrolledLine(response.worker)],
    names: () => [response.worker?.workerId ?? ""],
  });
  if (response.worker?.approval === WorkerApproval.PENDING) {
    call.output.note("It gets no jobs until an operator approves it.");
  }
  call.output.note(`Its key is in ${keyFile}. Start it: muster worker run --key-file ${keyFile}`);
  return exitCodes.done;
}

function enrolledLine(worker: Worker | undefined): string {
  return `${sanitize(worker?.name ?? "")}\t${worker?.workerId ?? ""}\tenrolled`;
}

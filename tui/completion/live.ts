import type { Command } from "commander";
import { loadConfig } from "../config/files.ts";
import { givenGlobals } from "../global-options.ts";
import type { Surroundings } from "../surroundings.ts";
import type { Candidate } from "./complete.ts";

/** What is asked for. */
export interface LiveQuestion {
  /** Names of the value, the likelier first: `job`, `queue`. */
  readonly sorts: readonly string[];
  /** What was typed of it. */
  readonly text: string;
  /** The command that was typed, with what was given of the options of all commands. */
  readonly globals: Command;
  readonly surroundings: Surroundings;
}

const typeNames: ReadonlyMap<
  string,
  "JOB" | "WORKER" | "QUEUE" | "PROJECT" | "SESSION" | "BATCH" | "KIND" | "SKILL" | "KEY"
> = new Map([
  ["job", "JOB"],
  ["parent", "JOB"],
  ["ids", "JOB"],
  ["worker", "WORKER"],
  ["queue", "QUEUE"],
  ["project", "PROJECT"],
  ["session", "SESSION"],
  ["batch", "BATCH"],
  ["kind", "KIND"],
  ["skill", "SKILL"],
  ["key", "KEY"],
]);

/** How long the coordinator may take: a shell waits for it. */
const patienceMs = 1000;

/** Ids and names that the coordinator knows; none when it does not answer in a second, for whatever reason. */
export async function liveNames({ sorts, text, globals, surroundings }: LiveQuestion): Promise<Candidate[]> {
  const typeName = sorts.map((sort) => typeNames.get(sort)).find((one) => one !== undefined);
  if (typeName === undefined) return [];
  try {
    const { prepareCall } = await import("../call.ts");
    const { LookupType, SystemService } = await import("@muster/client/v1/system_service");
    const config = await loadConfig(surroundings);
    const quiet = { ...surroundings, stderr: surroundings.stdout };
    const { context, address, apiKeyFile, org } = givenGlobals(globals);
    const call = prepareCall(quiet, { context, address, apiKeyFile, org }, [], () => {}, {
      config: { ...config, warnings: [] },
    });
    const request = { text, types: [LookupType[typeName]], limit: 50 };
    const signal = AbortSignal.any([surroundings.signal, AbortSignal.timeout(patienceMs)]);
    const { candidates } = await call.client(SystemService).lookup(request, { signal });
    return candidates
      .map(({ type, id, label }) => (type === LookupType.WORKER && label !== "" ? [label, id] : [id, label]))
      .flatMap(([value = "", about = ""]) => (isPlain.test(value) ? [{ value, about }] : []));
  } catch {
    return [];
  }
}

// Whatever a shell reads as its own is no completion: these names were chosen by others.
const isPlain = /^[\w.:/@%+][\w.:/@%+-]*$/;

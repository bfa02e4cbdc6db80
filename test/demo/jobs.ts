import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { JobSpecSchema } from "@muster/client/v1/job";
import type { InputFile } from "./inputs.ts";

/**
 * What is special about a job:
 * file – counts a file · high – does so before the others · flaky – fails at its first attempt · held – works
 * until the worker was killed · poison – always fails · endless – runs until it is cancelled
 */
export type Role = "file" | "high" | "flaky" | "held" | "poison" | "endless";

/** A job to submit, and what was meant by it. */
export interface PlannedJob {
  readonly role: Role;
  /** The file that it counts; null when it counts none. */
  readonly file: InputFile | null;
  readonly spec: MessageInitShape<typeof JobSpecSchema>;
}

/** All jobs of the demo. */
export interface Plan {
  /** Submitted at once, all or none: a job a file. */
  readonly batch: readonly PlannedJob[];
  readonly poison: PlannedJob;
  readonly endless: PlannedJob;
}

/** Where the jobs find things. */
export interface JobPlaces {
  /** Working directory: the copies of the files. */
  readonly inputs: string;
  /** Held jobs wait for this file. */
  readonly gate: string;
  /** In the environment of every process of a job, so that one that is left behind is found. */
  readonly mark: string;
}

/** Name of the environment variable that marks the processes of the demo's jobs. */
export const markVariable = "MUSTER_DEMO";

/** How often the poison job fails before it is dead. */
export const poisonAttempts = 3;

const highPriority = 192;
const criticalPriority = 240;
const heldJobs = 6;
/** One in so many of the ordinary jobs fails at first. */
const flakyEvery = 12;
/** Held jobs are in line behind this share of the ordinary ones: so the worker dies in the middle. */
const heldBehind = 0.4;

// `shell.run` takes a program and its arguments. Where three commands and a pipe are wanted the program is sh, its
// script is the same for all jobs, and the path is an argument: no text of the input is ever read as a command.
// Files are read from standard input, because sha256sum writes odd names in a way of its own.
const countFile = `
if command -v sha256sum >/dev/null; then sha256sum <"$1"; else shasum -a 256 <"$1"; fi
wc -l <"$1"
gzip -c <"$1" | wc -c`;

const scripts = {
  file: `set -eu${countFile}`,
  flaky: `set -eu
if [ "$MUSTER_ATTEMPT" -eq 1 ]; then echo "fails at first, as planned" >&2; exit 75; fi${countFile}`,
  held: `set -eu
left=600
while [ ! -e "$2" ] && [ "$left" -gt 0 ]; do sleep 0.1; left=$((left - 1)); done${countFile}`,
  poison: 'echo "fails always, as planned" >&2; exit 66',
  endless: "sleep 300 & echo processes $$ $!; wait",
} as const;

/** Makes the jobs: one a file, some of them special, and one each that dies and that is cancelled. */
export function planJobs(files: readonly InputFile[], places: JobPlaces): Plan {
  const isHigh = (file: InputFile) => file.path.startsWith("proto/");
  const ordinary = files.filter((file) => !isHigh(file));
  const heldFrom = Math.floor(ordinary.length * heldBehind);
  const roleOf = (index: number): Role => {
    if (index >= heldFrom && index < heldFrom + heldJobs) return "held";
    return index % flakyEvery === flakyEvery - 1 ? "flaky" : "file";
  };
  return {
    // The urgent ones come last in the batch: what starts them first is their priority alone.
    batch: [
      ...ordinary.map((file, index) => fileJob(roleOf(index), file, places)),
      ...files.filter(isHigh).map((file) => fileJob("high", file, places)),
    ],
    poison: {
      role: "poison",
      file: null,
      spec: {
        ...shellJob("poison", "always fails", [scripts.poison], places),
        retry: { ...quickRetry, maxAttempts: poisonAttempts },
      },
    },
    endless: {
      role: "endless",
      file: null,
      spec: {
        ...shellJob("endless", "runs until it is cancelled", [scripts.endless], places),
        priority: criticalPriority,
      },
    },
  };
}

const quickRetry = { maxAttempts: 3, backoffInitial: durationFromMs(300), backoffMax: durationFromMs(2_000) };

function fileJob(role: Role, file: InputFile, places: JobPlaces): PlannedJob {
  const script = role === "flaky" || role === "held" ? scripts[role] : scripts.file;
  // `sh -c script name arguments…`: the name stands in its messages.
  const args = role === "held" ? [file.path, places.gate] : [file.path];
  const spec = {
    ...shellJob(role, file.path, [script, "count", ...args], places),
    retry: quickRetry,
    ...(role === "high" ? { priority: highPriority } : {}),
  };
  return { role, file, spec };
}

function shellJob(role: Role, title: string, args: readonly string[], places: JobPlaces) {
  const payload = { argv: ["sh", "-c", ...args], cwd: places.inputs, env: { [markVariable]: places.mark } };
  const value = new TextEncoder().encode(JSON.stringify(payload));
  return {
    kind: "shell.run",
    // A title has at most 200 characters, and none that move a cursor.
    title: title.replaceAll(/\p{Cc}/gu, "?").slice(-200),
    labels: { role },
    payload: { content: { case: "data" as const, value } },
  };
}

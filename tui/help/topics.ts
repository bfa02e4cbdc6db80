import { JobState } from "@muster/client/v1/job";
import { WorkerState } from "@muster/client/v1/worker";
import { exitCodeMeanings } from "../exit-codes.ts";
import type { Output } from "../output/output.ts";
import { cancellingLook, jobLooks, type Look, retryLook, workerLooks } from "../output/states.ts";
import { configurationLines, filterLines, formattingLines, optionLines, pairLines } from "./more-topics.ts";

/** The lines of each topic of `muster help`, by its name. */
export const helpTopics: ReadonlyMap<string, (output: Output) => readonly string[]> = new Map([
  ["exit-codes", exitCodeLines],
  ["environment", environmentLines],
  ["configuration", configurationLines],
  ["filter", filterLines],
  ["formatting", formattingLines],
  ["options", optionLines],
  ["states", stateLines],
]);

function exitCodeLines(): string[] {
  return [
    "What the exit codes mean:",
    "",
    ...pairLines(exitCodeMeanings.map(([code, meaning]) => [String(code).padStart(3), meaning])),
  ];
}

function environmentLines(): string[] {
  return [
    "Environment variables; a flag is stronger than its variable:",
    "",
    ...pairLines([
      ["MUSTER_CONTEXT", "the context to use; as --context"],
      ["MUSTER_ADDRESS", "URL of the coordinator (http://127.0.0.1:7070); as --address"],
      ["MUSTER_API_KEY_FILE", "file that holds the API key; as --api-key-file"],
      ["MUSTER_API_KEY", "the API key itself"],
      ["MUSTER_CLIENT_TLS_CA", "file of the authority (PEM) that signed the certificate; as --tls-ca"],
      ["MUSTER_CLIENT_TLS_CERT", "file of the certificate (PEM) to show; as --tls-cert"],
      ["MUSTER_CLIENT_TLS_KEY", "file of the key (PEM) of that certificate; as --tls-key"],
      ["MUSTER_ORG", "name or id of the org that calls are for, with a platform key; as --org"],
      ["MUSTER_READ_ONLY", "set to 1: refuse every call that changes something; as --read-only"],
      ["MUSTER_OUTPUT", "how answers are printed; as --output"],
      ["MUSTER_CLIENT_CONFIG", "your configuration file, instead of the one below XDG_CONFIG_HOME"],
      ["MUSTER_WORKER_KEY_FILE", "worker run: file that holds the worker's key; as --key-file"],
      ["MUSTER_WORKER_KEY", "worker run: the worker's key itself"],
      ["MUSTER_WORKER_ADDRESS", "of a worker that worker new wrote: host:port of the coordinator"],
      ["MUSTER_WORKER_JOB_ENV", "worker run: variables that jobs get, with commas; as --job-env"],
      ["MUSTER_WORKER_JOB_PATH", "worker run: PATH of jobs; as --job-path"],
      ["MUSTER_WORKER_JOB_UID", "worker run: first user of jobs under isolation uid; as --job-uid"],
      ["MUSTER_WORKER_ISOLATION", "worker run: none, uid or bwrap; as --isolation"],
      ["MUSTER_WORKER_NETWORK", "worker run: kinds with a network under bwrap; as --network"],
      ["MUSTER_TOP_FRAMES", "top: file that it appends to how long each frame took, in JSON lines"],
      ["NO_COLOR", "set to anything: no colours; as --no-color, MUSTER_NO_COLOR"],
      ["FORCE_COLOR", "set to 1: colours also where output is no terminal"],
      ["NODE_EXTRA_CA_CERTS", "file of further authorities (PEM) that https addresses may be signed by"],
      ["XDG_CONFIG_HOME", "where muster/config.yaml and muster/credentials.yaml are (~/.config)"],
      ["XDG_STATE_HOME", "where muster/ keeps its state (~/.local/state)"],
    ]),
    "",
    "Without a key, commands use the one that the `muster dev` or `muster server` of yours at the same",
    "address left in $XDG_STATE_HOME/muster/keys/<host>_<port>.key; for addresses of this machine only.",
    "The variables of the coordinator, MUSTER_*, are listed in: muster server --help",
  ];
}

function stateLines(output: Output): string[] {
  const line = (look: Look, meaning: string): string[] => {
    const glyph = output.glyphs === "ascii" ? look.ascii : look.glyph;
    return [output.paint(look.style, `${glyph} ${look.word}`), meaning];
  };
  return [
    "States of a job:",
    "",
    ...pairLines(jobMeanings.map(([look, meaning]) => line(look, meaning))),
    "",
    "States of a worker:",
    "",
    ...pairLines(workerMeanings.map(([look, meaning]) => line(look, meaning))),
  ];
}

const jobMeanings: readonly (readonly [Look, string])[] = [
  [jobLooks[JobState.BLOCKED], "waits for jobs that it depends on"],
  [jobLooks[JobState.SCHEDULED], "waits for its time"],
  [retryLook, "waits for its next try after a failure"],
  [jobLooks[JobState.READY], "waits for a worker"],
  [jobLooks[JobState.OFFERED], "leased to a worker that has not accepted yet"],
  [jobLooks[JobState.RUNNING], "a worker executes it"],
  [cancellingLook, "the same, and somebody asked to cancel it"],
  [jobLooks[JobState.PARKED], "held without spending an attempt"],
  [jobLooks[JobState.SUCCEEDED], "ended with a result"],
  [jobLooks[JobState.CANCELLED], "ended because it was no longer wanted"],
  [jobLooks[JobState.DEAD], "ended without success; a dead letter"],
];

const workerMeanings: readonly (readonly [Look, string])[] = [
  [workerLooks[WorkerState.IDLE], "attached, without a job"],
  [workerLooks[WorkerState.BUSY], "attached, with at least one job"],
  [workerLooks[WorkerState.DRAINING], "finishes what it has, takes nothing new"],
  [workerLooks[WorkerState.QUARANTINED], "kept from new jobs until an operator resumes it"],
  [workerLooks[WorkerState.PENDING], "gets no jobs until an operator approves it"],
  [workerLooks[WorkerState.STALE], "its heartbeat is late; it gets nothing new"],
  [workerLooks[WorkerState.OFFLINE], "not attached"],
  [workerLooks[WorkerState.DISABLED], "may not attach"],
];

import { setTimeout as delay } from "node:timers/promises";
import { toJsonString } from "@bufbuild/protobuf";
import { type DeadLetter, DeadLetterSchema, type Job } from "@muster/client/v1/job";
import { type DeadLetterGroup, JobAction, JobService, JobView } from "@muster/client/v1/job_service";
import type { KeyBinding } from "../shell/bindings.ts";
import { commandLine } from "../shell/command-line.ts";
import type { FilterTerm } from "../shell/filter-terms.ts";
import type { Shell } from "../shell/screen.ts";
import { knownTerms, readTerms, writeTerm } from "../shell/term-values.ts";
import { polledSource } from "../sources/polled.ts";
import { createAside } from "../store/aside.ts";
import { createGroupRetries, type GroupRetries, type Wait } from "./dlq-retry.ts";
import { dlqColumns, dlqHead, dlqLines } from "./dlq-view.ts";
import { goToJobs, needsRow, relatedKey, wayTo } from "./go.ts";
import { askJobs } from "./job-acts.ts";
import { openJob } from "./job-detail.ts";
import { createListScreen, type ListScreen } from "./list-screen.ts";

const terms: readonly FilterTerm[] = [{ name: "kind", about: "what sort of work" }];

/** Groups of one reading. */
const mostGroups = 500;

/** The dead letters by equal errors, the largest group first. */
export function createDlq(shell: Shell, wait: Wait = quietly): ListScreen<DeadLetterGroup> {
  const client = shell.client(JobService);
  const retries = createGroupRetries(shell, wait);
  const aside = createAside<Job | undefined>({
    read: async (jobId, call) => (await client.getJob({ jobId, view: JobView.BASIC }, call)).job,
    now: shell.now,
    changed: shell.changed,
    everyMs: 30_000,
  });
  return createListScreen<DeadLetterGroup>(shell, {
    id: "dlq",
    title: () => "Dead letters",
    // Equal fingerprints of two kinds are two groups.
    idOf: ({ kind, fingerprint }) => `${fingerprint} ${kind}`,
    isChanged: (before, after) => before.count !== after.count,
    columns: dlqColumns,
    source: ({ filter }) =>
      polledSource<DeadLetterGroup>(
        async (signal) => {
          const kind = readTerms(filter, terms).get("kind") ?? "";
          const answer = await client.listDeadLetterGroups(
            { kind, pageSize: mostGroups },
            { signal, timeoutMs: 30_000 },
          );
          const dead = answer.groups.reduce((sum, { count }) => sum + count, 0n);
          if (kind === "") shell.badge("dlq", dead === 0n ? "" : `†${dead}`);
          return {
            rows: answer.groups,
            tokens: { next: "", previous: "" },
            note: answer.truncated ? "only the newest 100,000 dead letters were grouped" : "",
          };
        },
        { everyMs: 5_000 },
      ),
    terms,
    head: (list, frame) => dlqHead(list.rows.values(), retries.running(), frame),
    none: "Nothing is dead.",
    openRow: (group) => goToJobs(shell, filterOf(group)),
    preview: (group, frame) => dlqLines(group, aside.of(group.sampleJobId).value, frame),
    previewRows: 10,
    keys: (list) => groupKeys(shell, list.current, retries),
    equals: [
      { command: "dlq groups", method: "JobService.ListDeadLetterGroups" },
      { command: "job get", method: "JobService.GetJob" },
    ],
    command: ({ filter }) =>
      commandLine("dlq groups", ["--kind", knownTerms(filter, terms).get("kind") ?? ""]),
    copies: ({ fingerprint, sampleJobId, error }) => [
      ["fingerprint", fingerprint],
      ["the sample", sampleJobId],
      ["the error", error?.message ?? ""],
    ],
    besides: aside.follow,
  });
}

function groupKeys(
  shell: Shell,
  current: () => DeadLetterGroup | undefined,
  retries: GroupRetries,
): KeyBinding[] {
  const withGroup = (run: (group: DeadLetterGroup) => void) => (): void => {
    const group = current();
    if (group !== undefined) run(group);
  };
  return [
    {
      id: "dlq.retry",
      keys: ["r"],
      label: "retry group",
      group: "act",
      danger: "severe",
      equal: { command: "dlq retry", method: "JobService.ActOnJobs" },
      hint: 2,
      when: needsRow(shell, current, "operate", () =>
        retries.running() === undefined ? undefined : "another group is being retried",
      ),
      run: withGroup(retries.open),
    },
    {
      id: "dlq.stop",
      keys: ["X"],
      label: "stop the retry",
      group: "act",
      danger: "none",
      hint: 3,
      when: () => (retries.running() === undefined ? "nothing is being retried" : undefined),
      run: retries.stop,
    },
    {
      id: "dlq.discard",
      keys: ["x"],
      label: "discard group",
      group: "act",
      danger: "severe",
      equal: { command: "dlq discard", method: "JobService.ActOnJobs" },
      hint: 4,
      when: needsRow(shell, current, "operate"),
      run: withGroup((group) =>
        askJobs(
          shell,
          JobAction.DISCARD,
          { kind: "filter", filter: filterOf(group) },
          {
            what: `dead letters of ${group.kind} with this error`,
            command: `dlq discard --group ${group.fingerprint}`,
            after: shell.restart,
          },
        ),
      ),
    },
    {
      id: "dlq.export",
      keys: ["ctrl-s"],
      label: "export as JSONL",
      group: "look",
      danger: "none",
      equal: { command: "dlq export", method: "JobService.ListDeadLetters" },
      hint: 5,
      when: () => (current() === undefined ? "nothing is selected" : undefined),
      run: withGroup((group) => void exportGroup(shell, group)),
    },
    relatedKey(shell, current, (group) => [
      { label: "the sample", about: group.sampleJobId, run: () => openJob(shell, group.sampleJobId) },
      wayTo(shell, "its jobs", "jobs", filterOf(group)),
      wayTo(shell, "dead jobs of its kind", "jobs", `state:dead ${writeTerm("kind", group.kind)}`),
      wayTo(shell, "jobs of its kind", "jobs", writeTerm("kind", group.kind)),
    ]),
  ];
}

/** Dead letters that are exported at most. */
const mostExported = 10_000;

// The list of dead letters knows no fingerprint: pages of the kind are read, and the others left out.
async function exportGroup(shell: Shell, { kind, fingerprint, count }: DeadLetterGroup): Promise<void> {
  const client = shell.client(JobService);
  const found: DeadLetter[] = [];
  let pageToken = "";
  try {
    do {
      const page = await client.listDeadLetters({ kind, pageSize: 1_000, pageToken }, { timeoutMs: 60_000 });
      found.push(...page.deadLetters.filter((one) => one.fingerprint === fingerprint));
      pageToken = page.nextPageToken;
    } while (pageToken !== "" && found.length < Math.min(mostExported, Number(count)));
  } catch (error) {
    shell.say({ text: error instanceof Error ? error.message : String(error), kind: "error" });
    return;
  }
  const lines = found.slice(0, mostExported).map((letter) => toJsonString(DeadLetterSchema, letter));
  await shell.save(`dead-letters-${fingerprint.replace(/[^\w-]/g, "_")}.jsonl`, lines);
}

function filterOf({ fingerprint, kind }: DeadLetterGroup): string {
  return `fingerprint:${fingerprint} ${writeTerm("kind", kind)}`;
}

async function quietly(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => undefined);
}

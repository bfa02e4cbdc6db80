import { type Lease, LeaseService } from "@muster/client/v1/lease_service";
import type { KeyBinding } from "../shell/bindings.ts";
import { commandLine } from "../shell/command-line.ts";
import type { FilterTerm } from "../shell/filter-terms.ts";
import type { Shell } from "../shell/screen.ts";
import { knownTerms, readTerms, writeTerm } from "../shell/term-values.ts";
import { pagedSources, pageSize } from "../sources/paged.ts";
import { ask } from "./ask.ts";
import { needsRow, relatedKey, wayTo } from "./go.ts";
import { openJob } from "./job-detail.ts";
import { createWhy } from "./job-why.ts";
import { leaseColumns, leaseLines } from "./lease-view.ts";
import { createListScreen, type ListScreen } from "./list-screen.ts";
import { createWorkerPage } from "./workers.ts";

const terms: readonly FilterTerm[] = [
  { name: "worker", about: "who holds it: name or id" },
  { name: "risk", about: "its worker is late", values: ["yes"] },
];

/** Who holds which job, longest held first. */
export function createLeases(shell: Shell): ListScreen<Lease> {
  const client = shell.client(LeaseService);
  return createListScreen<Lease>(shell, {
    id: "leases",
    title: () => "Leases",
    idOf: ({ leaseId }) => leaseId,
    isChanged: (before, after) => before.atRisk !== after.atRisk || before.state !== after.state,
    columns: leaseColumns,
    source: pagedSources<Lease>(async ({ filter }, pageToken, signal) => {
      const given = readTerms(filter, terms);
      const request = { worker: given.get("worker") ?? "", atRisk: given.has("risk"), pageSize, pageToken };
      const answer = await client.listLeases(request, { signal, timeoutMs: 30_000 });
      return { rows: answer.leases, nextPageToken: answer.nextPageToken };
    }),
    terms,
    none: "Nobody holds a job.",
    openRow: ({ jobId }) => openJob(shell, jobId),
    preview: leaseLines,
    keys: (list) => leaseKeys(shell, list.current),
    equals: [{ command: "lease list", method: "LeaseService.ListLeases" }],
    command: ({ filter }) => {
      const given = knownTerms(filter, terms);
      return commandLine(
        "lease list",
        ["--worker", given.get("worker") ?? ""],
        given.has("risk") ? "--at-risk" : "",
      );
    },
    copies: ({ jobId, workerName }) => [
      ["job", jobId],
      ["worker", workerName],
    ],
  });
}

function leaseKeys(shell: Shell, current: () => Lease | undefined): KeyBinding[] {
  const withLease = (run: (lease: Lease) => void) => (): void => {
    const lease = current();
    if (lease !== undefined) run(lease);
  };
  return [
    {
      id: "lease.revoke",
      keys: ["x"],
      label: "revoke",
      group: "act",
      danger: "moderate",
      equal: { command: "lease revoke", method: "LeaseService.RevokeLease" },
      hint: 2,
      when: needsRow(shell, current, "operate"),
      run: withLease((lease) => askRevoke(shell, lease)),
    },
    {
      id: "lease.why",
      keys: ["w"],
      label: "why there?",
      group: "look",
      danger: "none",
      equal: { command: "job explain", method: "ExplainService.ExplainJob" },
      when: () => (current() === undefined ? "nothing is selected" : undefined),
      run: withLease(({ jobId }) => shell.push(createWhy(shell, jobId))),
    },
    relatedKey(shell, current, ({ workerId, workerName, kind }) => [
      {
        label: `worker ${workerName}`,
        about: workerId,
        run: () => shell.push(createWorkerPage(shell, workerId, workerName)),
      },
      wayTo(shell, "all leases of its worker", "leases", writeTerm("worker", workerName)),
      wayTo(shell, "jobs of its kind", "jobs", writeTerm("kind", kind)),
    ]),
  ];
}

function askRevoke(shell: Shell, { leaseId, jobId, kind, workerName, attempt, atRisk }: Lease): void {
  ask(
    shell,
    {
      title: `Take ${jobId} back from ${workerName}?`,
      lines: [
        `Attempt ${attempt} of ${kind} counts as released: the job is ready again at once, for any worker.`,
        atRisk
          ? "Its worker is silent: what it began may go on there for a while, and then runs twice."
          : "Its worker is told to stop; nothing that it still sends changes anything.",
      ],
      verb: "Revoke it",
      command: (reason) => commandLine("lease revoke", leaseId, ["--reason", reason]),
    },
    {
      run: ({ requestId, options }, reason) =>
        shell.client(LeaseService).revokeLease({ leaseId, reason, requestId }, options),
      done: () => `${jobId} is ready again`,
    },
  );
}

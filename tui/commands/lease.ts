import { create } from "@bufbuild/protobuf";
import {
  GetLeaseResponseSchema,
  type Lease,
  LeaseService,
  ListLeasesResponseSchema,
} from "@muster/client/v1/lease_service";
import type { Call } from "../call.ts";
import type { Cli, MusterCommand } from "../command.ts";
import { exitCodes } from "../exit-codes.ts";
import { confirmDanger, quote } from "../input/confirm.ts";
import { jobLooks } from "../output/states.ts";
import { layFacts, layTable } from "../output/table.ts";
import { durationToMs, showCounted, showDuration } from "../output/time.ts";
import { reasonWords } from "./job-acts.ts";
import { revokeLease } from "./job-edit.ts";
import { collectPages, notePage, type PageOptions, withPages } from "./pages.ts";
import { forEachId } from "./several.ts";

interface ListOptions extends PageOptions {
  readonly worker?: string;
  readonly atRisk?: boolean;
}

const anId = "lse_01jd9y3f4k8qkx2m0000000000";

/** Registers `muster lease`. */
export function registerLease(cli: Cli): void {
  const lease = cli.program
    .command("lease")
    .alias("leases")
    .description("See which worker holds which job, and take jobs back.");
  withPages(lease.command("list").alias("ls"))
    .description("List current leases, longest held first.")
    .examples("muster lease list", "muster lease list --at-risk", "muster lease list --worker gpu-1 -o name")
    .option("--worker <worker>", "only of this worker (name or id)")
    .option("--at-risk", "only those whose worker is late, or not attached")
    .action(cli.action((call, options: ListOptions) => printLeases(call, options)));
  lease
    .command("get <lease>")
    .description("Show everything about a current lease, by its id or that of its job.")
    .examples(`muster lease get ${anId}`, "muster lease get job_01jd9y3f4k8qkx2m0000000000")
    .action(
      cli.action(async (call, id: string) => {
        const asked = id.startsWith("job_") ? { jobId: id } : { leaseId: id };
        const response = await call.client(LeaseService).getLease(asked, call.once());
        const { lease: found } = response;
        call.output.print({
          schema: GetLeaseResponseSchema,
          message: response,
          text: () => (found === undefined ? [] : facts(call, found)),
          names: () => (found === undefined ? [] : [found.leaseId]),
        });
        return exitCodes.done;
      }),
    );
  registerRevoke(lease, cli);
}

function registerRevoke(lease: MusterCommand, cli: Cli): void {
  lease
    .command("revoke <lease...>")
    .description("Take jobs back from their workers: they are ready again at once, elsewhere first.")
    .examples(
      `muster lease revoke ${anId} --reason "it hangs" --yes`,
      "muster lease list --worker gpu-3 -o name | xargs muster lease revoke --yes",
    )
    .option("--reason <text>", "for people")
    .action(
      cli.action(async (call, ids: string[], { reason }: { reason?: string }) => {
        await confirmDanger(call, {
          level: "moderate",
          what: `Revoke ${showCounted(ids.length, "lease")}: what their workers still send is refused`,
          command: ["muster lease revoke", ...ids.map(quote), ...reasonWords(reason)].join(" "),
        });
        return forEachId(call, ids, (leaseId) =>
          revokeLease(call, { leaseId, reason: reason ?? "", shown: leaseId }),
        );
      }),
    );
}

async function printLeases(call: Call, options: ListOptions): Promise<number> {
  const { worker = "", atRisk = false } = options;
  const page = await collectPages(options, async (pageSize, pageToken) => {
    const request = { worker, atRisk, pageSize, pageToken };
    const response = await call.client(LeaseService).listLeases(request, call.once());
    return { rows: response.leases, nextPageToken: response.nextPageToken };
  });
  const columns = [
    { title: "LEASE" },
    { title: "JOB" },
    { title: "STATE", drop: 3 },
    { title: "KIND", drop: 2 },
    { title: "ATT", align: "right", drop: 1 },
    { title: "HELD", align: "right" },
    { title: "BEAT", align: "right" },
    { title: "WORKER" },
  ] as const;
  const nowMs = call.surroundings.now();
  call.output.print({
    schema: ListLeasesResponseSchema,
    message: create(ListLeasesResponseSchema, { leases: page.rows, nextPageToken: page.nextPageToken }),
    text: () =>
      layTable(
        columns,
        page.rows.map((one) => [
          one.leaseId,
          one.jobId,
          jobLooks[one.state].word,
          one.kind,
          String(one.attempt),
          call.output.age(one.grantTime, nowMs),
          beatOf(one),
          one.atRisk
            ? { text: `${one.workerName || one.workerId} (late)`, style: "yellow" }
            : one.workerName || one.workerId,
        ]),
        call.output.layout,
      ),
    names: () => page.rows.map((one) => one.leaseId),
  });
  notePage(call.output, page, "leases");
  return exitCodes.done;
}

function facts(call: Call, lease: Lease): string[] {
  const nowMs = call.surroundings.now();
  return layFacts(
    [
      ["id", lease.leaseId],
      ["job", lease.jobId],
      ["kind", lease.kind],
      ["state", jobLooks[lease.state].word + (lease.cancelRequested ? ", cancel requested" : "")],
      ["attempt", String(lease.attempt)],
      ["worker", `${lease.workerName} (${lease.workerId})`],
      ["heartbeat", lease.silence === undefined ? "not attached" : `${beatOf(lease)} ago`],
      ["at risk", lease.atRisk ? "its worker is late" : ""],
      ["granted", call.output.timeAndAge(lease.grantTime, nowMs)],
      ["expires", call.output.timeAndAge(lease.expireTime, nowMs)],
    ],
    call.output.layout,
  );
}

function beatOf({ silence }: Lease): string {
  return silence === undefined ? "-" : showDuration(durationToMs(silence));
}

import { create } from "@bufbuild/protobuf";
import { type Attempt, type Profile, ProfileSchema } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { GetProfileResponseSchema, StatsService } from "@muster/client/v1/stats_service";
import type { Call } from "../call.ts";
import type { Cli } from "../command.ts";
import { usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { wholeOption } from "../input/options.ts";
import { pastTimeOption } from "../input/past-time.ts";
import { timeFromMs } from "../input/values.ts";
import type { Output } from "../output/output.ts";
import { profileRows } from "../output/profiles.ts";
import { layTable } from "../output/table.ts";
import { durationToMs, showCount, showDuration } from "../output/time.ts";

interface ProfileOptions {
  readonly attempt?: number;
  readonly kind?: string;
  readonly since?: number;
  readonly until?: number;
}

/** Registers `muster profile`. */
export function registerProfile(cli: Cli): void {
  const { now } = cli.surroundings;
  cli.program
    .command("profile [job]")
    .description(
      "See where the time of a job went, or of all jobs of a kind, by the spans that handlers mark.",
    )
    .examples(
      "muster profile job_01m82r1twhe6evt5tx2c7en6h1",
      "muster profile job_01m82r1twhe6evt5tx2c7en6h1 --attempt 2",
      "muster profile --kind render.frame --since 7d",
    )
    .option(
      "--attempt <number>",
      "this attempt of the job (the latest that has one)",
      wholeOption(1, 1_000_000),
    )
    .option("--kind <kind>", "of all attempts of this kind together")
    .option("--since <time>", "with --kind: from then on, to the hour (24h)", pastTimeOption(now))
    .option("--until <time>", "with --kind: until then (now)", pastTimeOption(now))
    .notes(
      'A handler marks a span with ctx.span("db", () => …); self is its time without those inside of it.',
    )
    .action(
      cli.action((call, job: string | undefined, options: ProfileOptions) => {
        if ((job === undefined) === (options.kind === undefined)) {
          throw usageError("name a job or a kind", "Give the id of a job, or --kind <kind>, one of the two.");
        }
        return job === undefined ? ofKind(call, options) : ofJob(call, job, options);
      }),
    );
}

async function ofJob(call: Call, jobId: string, { attempt }: ProfileOptions): Promise<number> {
  const attempts: Attempt[] = [];
  for (let pageToken = "", isMore = true; isMore; ) {
    const request = { jobId, pageSize: 1_000, pageToken };
    const response = await call.client(JobService).listAttempts(request, call.once());
    attempts.push(...response.attempts);
    pageToken = response.nextPageToken;
    isMore = pageToken !== "";
  }
  const found =
    attempt === undefined
      ? attempts.findLast(({ profile }) => profile !== undefined)
      : attempts.find((one) => one.attempt === attempt);
  if (attempt !== undefined && found === undefined) {
    throw usageError(`the job has no attempt ${attempt}`, `See them with: muster job attempts ${jobId}`);
  }
  print(call.output, found?.profile, found === undefined ? "" : `attempt ${found.attempt}`);
  return exitCodes.done;
}

async function ofKind(call: Call, { kind = "", since, until }: ProfileOptions): Promise<number> {
  const response = await call.client(StatsService).getProfile(
    {
      kind,
      ...(since === undefined ? {} : { startTime: timeFromMs(since) }),
      ...(until === undefined ? {} : { endTime: timeFromMs(until) }),
    },
    call.once(),
  );
  const { profile, runP50, runP95 } = response;
  const took = (duration: typeof runP50) =>
    duration === undefined ? "-" : showDuration(durationToMs(duration));
  call.output.print({
    schema: GetProfileResponseSchema,
    message: response,
    text: () => [...linesOf(profile, call.output)],
  });
  note(call.output, profile, `all attempts together; one ran p50 ${took(runP50)}, p95 ${took(runP95)}`);
  return exitCodes.done;
}

function print(output: Output, profile: Profile | undefined, of: string): void {
  output.print({
    schema: ProfileSchema,
    message: profile ?? create(ProfileSchema),
    text: () => linesOf(profile, output),
  });
  note(output, profile, of);
}

function linesOf(profile: Profile | undefined, output: Output): string[] {
  const columns = [
    { title: "SPAN" },
    { title: "COUNT", align: "right" },
    { title: "FAILED", align: "right", drop: 1 },
    { title: "TOTAL", align: "right" },
    { title: "SELF", align: "right" },
    { title: "SHARE", align: "right" },
  ] as const;
  if (profile === undefined || profile.spans.length === 0) return [];
  const rows = profileRows(profile, output.glyphs).map((row) => [
    ...[row.name, showCount(row.count), row.failed === 0n ? "" : showCount(row.failed)],
    ...[row.total, row.self, row.share],
  ]);
  return layTable(columns, rows, output.layout);
}

function note(output: Output, profile: Profile | undefined, of: string): void {
  if (output.format !== "text") return;
  if (profile === undefined || (profile.spans.length === 0 && profile.dropped === 0n)) {
    output.note('No spans: its handler marks none with ctx.span("name", () => …).');
    return;
  }
  const ran = profile.runTime === undefined ? "" : `${showDuration(durationToMs(profile.runTime))} in all`;
  const dropped =
    profile.dropped === 0n ? "" : `${showCount(profile.dropped)} spans beyond the bounds are left out`;
  output.note([of, ran, dropped].filter((part) => part !== "").join("; "));
}

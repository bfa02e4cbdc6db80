import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { type DeadLetter, DeadLetterSchema } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import type { Call } from "../call.ts";
import type { Cli, MusterCommand } from "../command.ts";
import { exitCodes } from "../exit-codes.ts";
import { messageJson } from "../output/output.ts";
import { escapeJson } from "../output/sanitize.ts";
import { showCounted } from "../output/time.ts";

/** Registers `muster dlq export`. */
export function registerDlqExport(dlq: MusterCommand, cli: Cli): void {
  dlq
    .command("export")
    .description("Write dead letters as JSON lines, newest first, with payloads.")
    .examples("muster dlq export > dead.jsonl", "muster dlq export --kind index.repo --without-payloads")
    .option("--kind <kind>", "only this kind")
    .option("--without-payloads", "without payloads: one call a page instead of one a job")
    .action(
      cli.action(async (call, { kind = "", withoutPayloads = false }: ExportOptions) => {
        let count = 0;
        for (let pageToken = ""; ; ) {
          const page = await call
            .client(JobService)
            .listDeadLetters({ kind, pageSize: 1_000, pageToken }, call.once());
          for (const letter of page.deadLetters) {
            const whole = withoutPayloads ? letter : await withPayload(call, letter);
            // A line each, whatever the format of answers is.
            await call.output.bytes(
              Buffer.from(`${escapeJson(JSON.stringify(messageJson(DeadLetterSchema, whole)))}\n`),
            );
            count += 1;
          }
          pageToken = page.nextPageToken;
          if (pageToken === "") break;
        }
        call.output.note(`${showCounted(count, "dead letter")}.`);
        return exitCodes.done;
      }),
    );
}

interface ExportOptions {
  readonly kind?: string;
  readonly withoutPayloads?: boolean;
}

// One that was deleted meanwhile is exported as it was listed.
async function withPayload(call: Call, letter: DeadLetter): Promise<DeadLetter> {
  try {
    const { job } = await call.client(JobService).getJob({ jobId: letter.job?.jobId ?? "" }, call.once());
    return job === undefined ? letter : create(DeadLetterSchema, { ...letter, job });
  } catch (error) {
    if (error instanceof ConnectError && error.code === Code.NotFound) return letter;
    throw error;
  }
}

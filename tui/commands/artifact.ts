import { create } from "@bufbuild/protobuf";
import {
  type Artifact,
  ArtifactService,
  GetArtifactUrlResponseSchema,
  ListArtifactsResponseSchema,
} from "@muster/client/v1/artifact_service";
import type { Call } from "../call.ts";
import type { Cli } from "../command.ts";
import { usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { sanitize } from "../output/sanitize.ts";
import { layTable } from "../output/table.ts";
import { downloadToFile, downloadToOutput } from "../stream/download.ts";
import { collectPages, notePage, type PageOptions, withPages } from "./pages.ts";

interface GetOptions {
  readonly to?: string;
  readonly url?: boolean;
  readonly force?: boolean;
}

const anArtifact = "art_01jd9y3f4k8qkx2m0000000000";

/** Registers `muster artifact`. */
export function registerArtifact(cli: Cli): void {
  const artifact = cli.program
    .command("artifact")
    .alias("artifacts")
    .description("Fetch files that jobs produced.");
  withPages(artifact.command("list <job>").alias("ls"))
    .description("List the artifacts of a job, oldest first.")
    .examples("muster artifact list job_01jd9y3f4k8qkx2m0000000000")
    .action(cli.action((call, jobId: string, options: PageOptions) => printArtifacts(call, jobId, options)));
  artifact
    .command("get <artifact>")
    .description("Download an artifact into a file of its name, checked by size and SHA-256.")
    .examples(
      `muster artifact get ${anArtifact}`,
      `muster artifact get ${anArtifact} --to frame.png`,
      `muster artifact get ${anArtifact} --to - | tar tz`,
    )
    .option("--to <path>", "write to this file; - for stdout")
    .option("--url", "only print the address to download it from; good for 10 min")
    .option("--force", "replace the file if there is one")
    .action(
      cli.action((call, artifactId: string, options: GetOptions) => fetchArtifact(call, artifactId, options)),
    );
}

async function printArtifacts(call: Call, jobId: string, options: PageOptions): Promise<number> {
  const page = await collectPages(options, async (pageSize, pageToken) => {
    const response = await call
      .client(ArtifactService)
      .listArtifacts({ jobId, pageSize, pageToken }, call.once());
    return { rows: response.artifacts, nextPageToken: response.nextPageToken };
  });
  const columns = [
    { title: "ARTIFACT" },
    { title: "ATT", align: "right", drop: 1 },
    { title: "SIZE", align: "right" },
    { title: "TYPE", drop: 2 },
    { title: "AGE", align: "right" },
    { title: "NAME" },
  ] as const;
  const row = (one: Artifact): string[] => [
    one.artifactId,
    String(one.attempt),
    String(one.sizeBytes),
    one.contentType,
    call.output.age(one.createTime, call.surroundings.now()),
    one.name,
  ];
  call.output.print({
    schema: ListArtifactsResponseSchema,
    message: create(ListArtifactsResponseSchema, { artifacts: page.rows, nextPageToken: page.nextPageToken }),
    text: () => layTable(columns, page.rows.map(row), call.output.layout),
    names: () => page.rows.map((one) => one.artifactId),
  });
  notePage(call.output, page, "artifacts");
  return exitCodes.done;
}

async function fetchArtifact(call: Call, artifactId: string, options: GetOptions): Promise<number> {
  const { output, surroundings } = call;
  if (options.to === "-" && output.isTty) {
    throw usageError(
      "an artifact may be binary, and stdout is a terminal",
      "Redirect it, or name a file with --to.",
    );
  }
  const response = await call.client(ArtifactService).getArtifactUrl({ artifactId }, call.once());
  if (options.url === true || output.format !== "text") {
    output.print({
      schema: GetArtifactUrlResponseSchema,
      message: response,
      text: () => [sanitize(response.url)],
      names: () => [artifactId],
    });
    return exitCodes.done;
  }
  const { artifact } = response;
  const expected = { sizeBytes: Number(artifact?.sizeBytes ?? -1n), sha256: artifact?.sha256 ?? "" };
  // The address may be relative to the API's.
  const url = new URL(response.url, `${call.context().address}/`).href;
  if (options.to === "-") {
    await downloadToOutput(url, expected, output, call.signal);
    return exitCodes.done;
  }
  const path = options.to ?? fileNameOf(artifact?.name ?? "", artifactId);
  await downloadToFile(
    url,
    expected,
    { cwd: surroundings.cwd, path, replaces: options.force === true },
    call.signal,
  );
  output.data(path);
  return exitCodes.done;
}

// The name comes from a worker: it must stay in the working directory and on one line.
function fileNameOf(name: string, artifactId: string): string {
  return /^[^/\\\p{Cc}]+$/u.test(name) && !/^\.*$/.test(name) && !name.startsWith("-") ? name : artifactId;
}

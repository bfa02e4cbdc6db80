import { fromJson } from "@bufbuild/protobuf";
import { type JobSpec, JobSpecSchema } from "@muster/client/v1/job";
import { type JsonObject, type Path, readMessage, type SpecProblem } from "./message-document.ts";

/**
 * Reads a job as people write it in YAML or JSON: the fields of muster.v1.JobSpec by their JSON or proto name.
 * `payload` is the document itself; durations are written like `30s`, times RFC 3339 or `in 10m`, and `priority`
 * and `dependencyPolicy` may be words; `dependsOn` lists refs and ids. Every problem is added to `problems`;
 * undefined when there is one.
 */
export function readJobSpec(
  document: unknown,
  path: Path,
  nowMs: number,
  problems: SpecProblem[],
): JobSpec | undefined {
  const before = problems.length;
  const json = readMessage(JobSpecSchema, document, path, { nowMs, problems });
  if (problems.length === before && !hasKind(json)) {
    problems.push({ path, message: "needs a kind, like kind: shell.run", isKey: false });
  }
  return problems.length === before ? fromJson(JobSpecSchema, json) : undefined;
}

function hasKind(json: JsonObject): boolean {
  return typeof json["kind"] === "string" && json["kind"] !== "";
}

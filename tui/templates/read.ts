import { fromJson } from "@bufbuild/protobuf";
import { type Template, TemplateSchema } from "@muster/client/v1/template_service";
import { readDocuments } from "../apply/documents.ts";
import { usageError } from "../errors.ts";
import type { Surroundings } from "../surroundings.ts";
import type { Fetched } from "./source.ts";
import { templateKind } from "./template-kind.ts";

/** The templates of files, with where they came from. Throws one usage error with all problems of all files. */
export function readTemplates(
  { source, sha256, files }: Fetched,
  { now }: Pick<Surroundings, "now">,
): Template[] {
  // What came from elsewhere does not read this environment.
  const read = files.map(({ name, text }) =>
    readDocuments(text, { name, kinds: [templateKind], nowMs: now(), env: {}, fileText: noFiles }),
  );
  const violations = read.flatMap((one) => one.violations);
  if (violations.length > 0) {
    throw usageError(
      `${source} has ${violations.length === 1 ? "a problem" : `${violations.length} problems`}; nothing was sent`,
      "A template is a document with kind: template, name: and spec:. See `muster template create --help`.",
      violations.slice(0, 20),
    );
  }
  const templates = read.flatMap((one) =>
    one.documents.map(({ name, spec }) =>
      fromJson(TemplateSchema, { ...spec, name, source, sourceSha256: sha256 }),
    ),
  );
  if (templates.length === 0) throw usageError(`${source} holds no template`);
  return templates;
}

// A template comes from elsewhere: nothing of this machine gets into it.
function noFiles(): { readonly problem: string } {
  return { problem: "!file is not for templates" };
}

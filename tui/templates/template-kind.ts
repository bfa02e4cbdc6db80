import { TemplateSchema } from "@muster/client/v1/template_service";
import type { DocumentKind } from "../apply/documents.ts";

/** A template as a document: where it came from is what installs it to say. */
export const templateKind: DocumentKind = {
  kind: "template",
  schema: TemplateSchema,
  without: [
    ...["name", "source", "sourceSha256", "digest"],
    ...["author", "createTime", "updateTime", "stars", "ratings"],
  ],
};

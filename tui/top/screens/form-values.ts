import type { Duration, Timestamp } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { makeError } from "@muster/client/errors";
import { durationFromMs, readDuration } from "../../input/values.ts";
import type { FormValues } from "../overlays/form.ts";

/** The text of a field, without blanks around it. */
export function enteredText(values: FormValues, name: string): string {
  return (values[name] ?? "").trim();
}

/** Names with blanks or commas between. */
export function namesOf(text: string): string[] {
  return text.split(/[\s,]+/).filter((name) => name !== "");
}

/** A field of a message that is a length of time: none when the text is empty. */
export function durationOf<Name extends string>(
  name: Name,
  text: string,
): { [Field in Name]?: Pick<Duration, "seconds" | "nanos"> } {
  const length = text === "" ? undefined : readDuration(text);
  if (length?.kind !== "value") return {};
  // The one field that the type names.
  return { [name]: durationFromMs(length.value) } as { [Field in Name]: Pick<Duration, "seconds" | "nanos"> };
}

/** Throws when there is one of that name: a put would replace it. */
export function refuseTaken(isThere: boolean, name: string): void {
  if (!isThere) return;
  throw makeError(Code.AlreadyExists, `there is ${name} already`, {
    reason: "ALREADY_EXISTS",
    violations: [{ field: "name", message: "is taken: Esc, and e edits that one" }],
  });
}

/** Throws when it was changed, or deleted, since the form was opened. */
export function refuseChanged(before: Timestamp | undefined, now: Timestamp | undefined): void {
  if (before?.seconds === now?.seconds && before?.nanos === now?.nanos) return;
  throw new ConnectError("it was changed by somebody meanwhile: Esc, and edit it anew", Code.Aborted);
}

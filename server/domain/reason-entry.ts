/** The status codes that Muster answers with: the Connect and gRPC names, in the case of the Connect wire. */
export type ErrorCode =
  | "invalid_argument"
  | "not_found"
  | "already_exists"
  | "failed_precondition"
  | "aborted"
  | "resource_exhausted"
  | "unauthenticated"
  | "permission_denied"
  | "unavailable"
  | "deadline_exceeded"
  | "internal"
  | "unimplemented";

/** What the registry says of a reason. Both texts are full sentences; neither holds a dynamic value. */
export interface ReasonEntry {
  readonly code: ErrorCode;
  readonly text: string;
  readonly suggestion: string;
}

/** An entry, with its own code as its type. */
export function reason<const Code extends ErrorCode>(code: Code, text: string, suggestion: string) {
  return { code, text, suggestion } as const;
}

/** What to do about an id that names nothing. */
export const checkId = "Check the id; ids of other orgs are not found either.";

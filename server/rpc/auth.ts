import { createContextKey, type HandlerContext } from "@connectrpc/connect";
import type { Caller } from "../domain/context.ts";
import { DomainError, orgSuspended, scopeMissing } from "../domain/errors.ts";
import {
  type Access,
  accessTo,
  isForOwners,
  isOpenInSuspension,
  missingScope,
  type ReflectionMode,
} from "./scopes.ts";

/**
 * Finds out who holds a key. Throws DomainError KEY_INVALID for any key that is not valid, whatever the reason.
 * `address` is where the call came from; empty when that is not known. `org` is the name or id of the org that the
 * caller acts for; empty: that of the key.
 */
export type Authenticate = (
  token: string,
  requestId: string,
  address: string,
  org: string,
) => Promise<Caller>;

/** The header that names the org that a call is for: a key's own, or any with a platform key. */
export const orgHeader = "muster-org";

/** Where a call came from: an IP address; empty when that is not known. */
export const addressKey = createContextKey("", { description: "address of the caller" });

/** The caller of an admitted call; undefined for methods that anybody may call. */
export const callerKey = createContextKey<Caller | undefined>(undefined, { description: "caller" });

/** The caller, in methods that ask for a key: the gate refuses them without one. */
export function callerOf(context: Pick<HandlerContext, "values">): Caller {
  const caller = context.values.get(callerKey);
  if (caller === undefined) throw new Error("the call was not admitted");
  return caller;
}

/** What the gate decides with. */
export interface AdmitParts {
  readonly authenticate: Authenticate;
  readonly reflection: ReflectionMode;
}

/** Lets a call pass whose key has the scope of its method, and keeps its caller with it; else throws. */
export async function admitCall(
  context: HandlerContext,
  requestId: string,
  { authenticate, reflection }: AdmitParts,
): Promise<void> {
  const { service, method } = context;
  const access = accessTo(method, reflection);
  if (access === undefined) throw new Error(`no access is laid down for ${service.typeName}/${method.name}`);
  if (access === "anybody") return;
  const token = bearerToken(context.requestHeader.get("authorization"));
  const org = context.requestHeader.get(orgHeader)?.trim() ?? "";
  const caller = await authenticate(token, requestId, context.values.get(addressKey), org);
  const missing = access === "any-key" ? undefined : missingScope(access, caller.scopes);
  const isOwner = missing !== undefined && Boolean(caller.personId) && isForOwners(method);
  if (missing !== undefined && caller.login?.role === null) throw new DomainError("ORG_NOT_CHOSEN");
  if (missing !== undefined && !isOwner) throw scopeMissing(missing);
  refuseSuspended(caller, access);
  context.values.set(callerKey, caller);
}

/** Refuses what an org that is suspended may not do. */
export function refuseSuspended({ suspension }: Caller, access: Access): void {
  if (suspension === undefined || isOpenInSuspension(access)) return;
  throw orgSuspended(suspension);
}

/**
 * The key in an authorization header; KEY_INVALID when it has none. What is told apart here depends on the header
 * alone, so it tells nothing about keys.
 */
export function bearerToken(header: string | null): string {
  if (header === null || header.trim() === "") {
    throw new DomainError("KEY_INVALID", { message: "The call has no key" });
  }
  const [, scheme = "", token = ""] = /^\s*(\S+)(?:\s+(\S+))?\s*$/.exec(header) ?? [];
  if (scheme.toLowerCase() !== "bearer" || token === "") {
    throw new DomainError("KEY_INVALID", {
      message: "The authorization header is not of the form Bearer mk_…",
    });
  }
  return token;
}

import type { DescMethod } from "@bufbuild/protobuf";
import { getOption, hasOption } from "@bufbuild/protobuf";
import { access as accessOption, Scope } from "@muster/client/v1/access";
import type { KeyScope } from "../domain/keys.ts";

/** What a caller may do: the scopes of a key, or `job`, that of the token of a job. */
export type CallScope = KeyScope | "job";

/** What a method asks of the caller: nothing, a valid key, or a key with any one of these scopes. */
export type Access = "anybody" | "any-key" | readonly [CallScope, ...CallScope[]];

/** Who may read the schema by reflection; health is for anybody. */
export type ReflectionMode = "on" | "off" | "authenticated";

/** The access to a method, as the proto lays it down; undefined when it lays down nothing: nobody may call it. */
export function accessTo(method: DescMethod, reflection: ReflectionMode): Access | undefined {
  const service = method.parent.typeName;
  if (service === "grpc.health.v1.Health") return "anybody";
  if (service === "grpc.reflection.v1.ServerReflection") return reflectionAccess(reflection);
  if (service === "grpc.reflection.v1alpha.ServerReflection") return reflectionAccess(reflection);
  const known = accesses.get(method);
  if (known !== undefined) return known;
  const read = readAccess(method);
  if (read !== undefined) accesses.set(method, read);
  return read;
}

/** The first scope that is missing, or undefined when the key's scopes are enough. */
export function missingScope(access: readonly CallScope[], held: readonly string[]): CallScope | undefined {
  if (access.some((scope) => held.includes(scope))) return undefined;
  if (held.includes("admin") && access.some((scope) => scope !== "platform")) return undefined;
  return access[0];
}

/** Whether a method is open while the org may do nothing: what work that runs needs, and what keeps orgs. */
export function isOpenInSuspension(access: Access): boolean {
  if (typeof access === "string") return false;
  if (access.includes("platform") || access.includes("work")) return true;
  return access.includes("job") && !access.includes("submit");
}

/** Whether a signed-in person may call a method for what is theirs: the verb looks whether it is. */
export function isForOwners(method: DescMethod): boolean {
  return hasOption(method, accessOption) && getOption(method, accessOption).orOwner;
}

// A call reads it; the descriptor's options are bytes until they are read.
const accesses = new WeakMap<DescMethod, Access>();

function readAccess(method: DescMethod): Access | undefined {
  if (!hasOption(method, accessOption)) return undefined;
  const { anyOf, anybody, anyKey } = getOption(method, accessOption);
  const [first, ...others] = anyOf.map((scope) => scopeNames[scope]);
  const said = [anybody, anyKey, first !== undefined].filter(Boolean).length;
  if (said !== 1 || others.includes(undefined)) {
    throw new Error(`${method.parent.typeName}/${method.name} must lay down one sort of access`);
  }
  if (anybody) return "anybody";
  if (anyKey) return "any-key";
  return first === undefined ? undefined : [first, ...others.filter((scope) => scope !== undefined)];
}

const scopeNames: { readonly [S in Scope]?: CallScope } = {
  [Scope.READ]: "read",
  [Scope.SUBMIT]: "submit",
  [Scope.WORK]: "work",
  [Scope.OPERATE]: "operate",
  [Scope.ADMIN]: "admin",
  [Scope.PLATFORM]: "platform",
  [Scope.JOB]: "job",
};

function reflectionAccess(mode: ReflectionMode): Access {
  return mode === "on" ? "anybody" : "any-key";
}

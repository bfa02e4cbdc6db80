import { type Call, prepareCall } from "../call.ts";
import { contextNames } from "../config/choose.ts";
import { CliError } from "../errors.ts";
import type { ContextEntry } from "../top/screens/contexts.ts";

/** The contexts that the console can go to; where an address was named, none of them is the current one. */
export function contextEntries(call: Pick<Call, "config" | "context">): ContextEntry[] {
  const { name: current, addressSource } = call.context();
  return contextNames(call.config).map((name) => {
    const file = call.config.files.find(({ contexts }) => contexts.has(name));
    return {
      name,
      address: String(file?.contexts.get(name)?.get("address") ?? ""),
      source: file?.path ?? "",
      isCurrent: name === current && addressSource === `context ${name}`,
    };
  });
}

/**
 * The same run in another context. Address, key and certificate of the first one stay behind, wherever they came
 * from: nobody shall get the key of another coordinator. Read only stays.
 */
export function inContext(call: Call, name: string): Call {
  const { surroundings, globals, argv, config } = call;
  const env = Object.fromEntries(Object.entries(surroundings.env).filter(([key]) => !leftBehind.has(key)));
  const {
    address: _address,
    apiKeyFile: _key,
    tlsCa: _ca,
    tlsCert: _cert,
    tlsKey: _tlsKey,
    ...kept
  } = globals;
  return prepareCall({ ...surroundings, env }, { ...kept, context: name }, argv, call.reached, { config });
}

/** Why a context cannot be opened, e.g. a key file that is not there; undefined when it can. */
export function contextBarrier(call: Call, name: string): string | undefined {
  try {
    inContext(call, name).context();
    return undefined;
  } catch (error) {
    if (error instanceof CliError) return `${name}: ${error.message}`;
    throw error;
  }
}

const leftBehind: ReadonlySet<string> = new Set([
  "MUSTER_ADDRESS",
  "MUSTER_API_KEY",
  "MUSTER_API_KEY_FILE",
  "MUSTER_CLIENT_TLS_CA",
  "MUSTER_CLIENT_TLS_CERT",
  "MUSTER_CLIENT_TLS_KEY",
  "MUSTER_CONTEXT",
  "MUSTER_ORG",
]);

import { setTimeout as wait } from "node:timers/promises";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { DeviceLoginState, PersonService, type Tokens } from "@muster/client/v1/person_service";
import type { Call } from "../call.ts";
import { CliError, usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { askHidden, canAsk } from "../input/ask.ts";
import { readText } from "../input/files.ts";
import { sanitize } from "../output/sanitize.ts";

/** How a person wants to log in. */
export interface LoginWays {
  readonly email?: string;
  readonly passwordStdin?: boolean;
  readonly register?: boolean;
  readonly invitation?: string;
  readonly name?: string;
  readonly device?: boolean;
  readonly oidcTokenFile?: string;
}

/** Whether a person logs in, not a key. Throws a usage error for ways that contradict each other. */
export function isPersonLogin(ways: LoginWays): boolean {
  const given = [
    ways.email !== undefined && "--email",
    ways.device === true && "--device",
    ways.oidcTokenFile !== undefined && "--oidc-token-file",
  ].filter((one) => one !== false);
  if (given.length > 1) throw usageError(`${given.join(" and ")} contradict each other`, "Give one of them.");
  const isRegistering = ways.register === true || ways.invitation !== undefined || ways.name !== undefined;
  if ((isRegistering || ways.passwordStdin === true) && ways.email === undefined) {
    throw usageError(
      "--register, --invitation, --name and --password-stdin go with --email",
      "Give --email.",
    );
  }
  return given.length > 0;
}

/** Logs a person in; `call` has no key. */
export async function logInPerson(call: Call, ways: LoginWays): Promise<Tokens> {
  const people = call.client(PersonService);
  const { email, oidcTokenFile } = ways;
  const tokens = async (): Promise<Tokens | undefined> => {
    if (oidcTokenFile !== undefined) {
      const token = (await readText(oidcTokenFile, "--oidc-token-file", call.surroundings)).trim();
      return (await people.loginByProvider({ token }, call.once())).tokens;
    }
    if (email === undefined) return waitForApproval(call);
    const isNew = ways.register === true || ways.invitation !== undefined;
    const password = await obtainPassword(call, ways, `Password of ${email}: `, isNew);
    if (!isNew) return (await people.login({ email, password }, call.once())).tokens;
    const { invitation = "", name = "" } = ways;
    return (await people.register({ email, password, name, invitation }, call.once())).tokens;
  };
  const found = await tokens();
  if (found === undefined) throw new Error("the coordinator answered without tokens");
  return found;
}

/** Asks for a password, twice for a new one; or reads the first line of stdin. */
export async function obtainPassword(
  call: Call,
  { passwordStdin }: { readonly passwordStdin?: boolean },
  question: string,
  isNew: boolean,
): Promise<string> {
  const { surroundings, globals } = call;
  if (passwordStdin === true) {
    const text = await readText("-", "--password-stdin", surroundings);
    return text.replace(/\r?\n[\s\S]*$/, "");
  }
  if (globals.input === false || !canAsk(surroundings)) {
    throw new CliError("a password is needed, and there is nobody to ask", {
      reason: "PASSWORD_MISSING",
      exitCode: exitCodes.notAllowed,
      suggestion: "Give it with --password-stdin.",
    });
  }
  const typed = (await askHidden(surroundings, question)) ?? "";
  if (isNew && (await askHidden(surroundings, "The same again: ")) !== typed) {
    throw usageError("the two are not the same", "Try again.");
  }
  return typed;
}

async function waitForApproval(call: Call): Promise<Tokens | undefined> {
  const people = call.client(PersonService);
  const started = await people.startDeviceLogin({}, call.once());
  const { deviceCode, userCode } = started;
  const shown = sanitize(userCode);
  call.output.note(`Code: ${shown}`);
  call.output.note(`Where you are logged in, run: muster login approve ${shown}`);
  let intervalMs = started.interval === undefined ? 5_000 : durationMs(started.interval);
  for (;;) {
    await wait(intervalMs, undefined, { signal: call.signal });
    const { state, tokens, interval } = await people.finishDeviceLogin({ deviceCode }, call.once());
    if (state === DeviceLoginState.APPROVED) return tokens;
    if (state === DeviceLoginState.EXPIRED_TOKEN) {
      throw new CliError("nobody approved the code in time", {
        reason: "CODE_EXPIRED",
        exitCode: exitCodes.notAllowed,
        suggestion: "Begin again: muster login --device",
      });
    }
    if (interval !== undefined) intervalMs = durationMs(interval);
  }
}

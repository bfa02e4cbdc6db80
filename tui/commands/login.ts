import { Code, ConnectError } from "@connectrpc/connect";
import { KeyService, type WhoAmIResponse, WhoAmIResponseSchema } from "@muster/client/v1/key_service";
import { ApproveDeviceLoginResponseSchema, PersonService } from "@muster/client/v1/person_service";
import { type Call, prepareCall } from "../call.ts";
import type { Cli } from "../command.ts";
import { namedContext, noContext } from "../config/choose.ts";
import { removeCredential, storeCredential } from "../config/credentials.ts";
import { changeUserConfig } from "../config/edit.ts";
import { credentialsPath } from "../config/files.ts";
import { readKey } from "../config/keys.ts";
import { credentialOf, locked } from "../config/logged-in.ts";
import { contextName, normalizeAddress } from "../config/settings.ts";
import { defaultAddress } from "../context.ts";
import { CliError, usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { askHidden, canAsk } from "../input/ask.ts";
import { readText } from "../input/files.ts";
import { sanitize } from "../output/sanitize.ts";
import { writeContext } from "./context.ts";
import { isPersonLogin, type LoginWays, logInPerson } from "./login-ways.ts";

/** Registers `muster login` and `muster logout`. */
export function registerLogin(cli: Cli): void {
  const command = cli.program
    .command("login")
    .description("Keep a coordinator's address and a key as a context.")
    .examples(
      "muster login -c prod --address https://muster.example:7070",
      "muster login -c prod --api-key-file prod.key",
      "vault read -field=key muster/prod | muster login -c prod --api-key-stdin",
      "muster login -c prod --email ada@example.com",
      "muster login -c prod --device",
    )
    .option("--api-key-stdin", "read the key from stdin")
    .option("--email <email>", "log in as a person, with your password")
    .option("--password-stdin", "read the password from the first line of stdin")
    .option("--register", "make the account first, where the coordinator lets you")
    .option("--invitation <code>", "make the account first, by the code that you were sent")
    .option("--name <name>", "what you are called, for a new account")
    .option("--device", "show a code that somebody who is logged in approves: no password is typed here")
    .option("--oidc-token-file <path>", "log in by a token of the OpenID provider; - reads stdin")
    .notes(
      "Asks for the key unless it is given; it is checked, and kept for you alone in credentials.yaml\n" +
        "beside your configuration. It is sent to this address only. So is what a person's login gives.",
    )
    .action(cli.action((call, options: KeyOptions & LoginWays) => login(call, options)));
  command
    .command("approve <code>")
    .description("Log a machine in that shows this code: as yourself, or by an admin key as --person.")
    .examples("muster login approve WDJB-MJHT", "muster login approve WDJB-MJHT --person ada@example.com")
    .option("--person <email>", "whom it is logged in as, for this org alone; by a key with the scope admin")
    .action(
      cli.action(async (call, userCode: string, { person = "" }: { readonly person?: string }) => {
        const response = await call
          .client(PersonService)
          .approveDeviceLogin({ userCode, person }, call.once());
        call.output.print({
          schema: ApproveDeviceLoginResponseSchema,
          message: response,
          text: () => [`The machine is logged in as ${sanitize(response.email)}.`],
          names: () => [response.email],
        });
        return exitCodes.done;
      }),
    );
  cli.program
    .command("logout")
    .description("Forget the key of a context.")
    .examples("muster logout", "muster logout -c prod --all")
    .option("--all", "end all logins of the person, on whatever machine")
    .action(cli.action((call, options: { readonly all?: boolean }) => logout(call, options.all === true)));
}

interface KeyOptions {
  readonly apiKeyStdin?: boolean;
}

async function logout(call: Call, isAll: boolean): Promise<number> {
  const { name } = namedContext(call.globals, call.surroundings.env, call.config);
  if (name === undefined) throw usageError("no context is used", "Name one with -c NAME.");
  const kept = call.config.keys().get(name);
  if (isAll && kept?.login === undefined) {
    throw usageError("--all is for the login of a person", `${name} has a key: muster key revoke`);
  }
  let ended = "";
  if (kept?.login !== undefined) {
    try {
      const { ended: count } = await call.client(PersonService).logout({ all: isAll }, call.once());
      ended = ` ${count} ${count === 1 ? "login" : "logins"} ended.`;
    } catch (error) {
      // One that has ended is what was asked for; one that cannot be ended now is told of, and forgotten here.
      if (ConnectError.from(error).code !== Code.Unauthenticated) {
        call.output.warn("the coordinator could not be told: the login ends by itself");
      }
    }
  }
  const isGone = removeCredential(credentialsPath(call.surroundings), name);
  const key = isGone
    ? `The key of ${name} is forgotten here. It still works: muster key revoke`
    : `No key of ${name} was kept.`;
  call.output.note(kept?.login === undefined ? key : `The login of ${name} is forgotten here.${ended}`);
  return exitCodes.done;
}

async function login(call: Call, options: KeyOptions & LoginWays): Promise<number> {
  const { globals, config, surroundings, output } = call;
  const isPerson = isPersonLogin(options);
  const named = namedContext(globals, surroundings.env, config);
  const name = named.name ?? "default";
  if (!contextName.test(name)) throw noContext(name, "flag", config);
  const held = config.files
    .find(({ contexts }) => contexts.has(name))
    ?.contexts.get(name)
    ?.get("address");
  // A project may have chosen the name; the address is the user's.
  const written = globals.address ?? (surroundings.env["MUSTER_ADDRESS"] || undefined) ?? held;
  if (written === undefined && named.name !== undefined) {
    throw usageError(`the context ${name} has no address yet`, `Like: muster login -c ${name} --address URL`);
  }
  const address = normalizeAddress(String(written ?? defaultAddress));
  if (address === undefined)
    throw usageError(`not an address: ${JSON.stringify(written)}`, "Write it like http://127.0.0.1:7070.");
  const credential = isPerson
    ? credentialOf(address, await logInPerson(callAt(call, address, ""), options))
    : { address, key: await obtainKey(call, options, address) };
  const who = await checkKey(call, address, credential.key);
  if (held === undefined || normalizeAddress(String(held)) !== address || globals.tlsCa !== undefined) {
    const { tlsCa, tlsCert, tlsKey, readOnly, org } = globals;
    const kept = { tlsCa, tlsCert, tlsKey, readOnly, org };
    writeContext({ ...call, globals: { ...kept, address } }, name, {});
  }
  const path = credentialsPath(surroundings);
  await locked(path, async () => storeCredential(path, name, credential));
  const isFirst = !config.files.some(({ settings }) => settings.has("context"));
  if (isFirst) changeUserConfig(surroundings, (document) => document.set("context", name));
  output.print({
    schema: WhoAmIResponseSchema,
    message: who,
    text: () => [],
    names: () => [name],
  });
  const scopes = (who.key?.scopes ?? who.scopes).join(", ") || "nothing";
  const allows = isPerson ? `you may ${scopes}` : `the key allows ${scopes}`;
  output.note(`Logged in to ${address} as ${who.actor} of ${who.org || who.orgId}; ${allows}.`);
  output.note(
    isFirst ? `Commands now go to ${name}.` : `Use it with -c ${name}, or: muster context use ${name}`,
  );
  return exitCodes.done;
}

async function obtainKey(call: Call, options: { apiKeyStdin?: boolean }, address: string): Promise<string> {
  const { globals, surroundings } = call;
  const { apiKeyFile } = globals;
  if (apiKeyFile !== undefined && options.apiKeyStdin === true) {
    throw usageError("--api-key-file and --api-key-stdin contradict each other", "Give one of the two.");
  }
  if (apiKeyFile !== undefined) {
    return readKey(await readText(apiKeyFile, "--api-key-file", surroundings), apiKeyFile);
  }
  if (options.apiKeyStdin === true)
    return readKey(await readText("-", "--api-key-stdin", surroundings), "stdin");
  if (globals.input === false || !canAsk(surroundings)) {
    throw new CliError("a key is needed, and there is nobody to ask", {
      reason: "KEY_MISSING",
      exitCode: exitCodes.notAllowed,
      suggestion: "Give it with --api-key-file FILE or --api-key-stdin.",
    });
  }
  const typed = await askHidden(surroundings, `API key for ${address}: `);
  return readKey(typed ?? "", "what was typed");
}

async function checkKey(call: Call, address: string, key: string): Promise<WhoAmIResponse> {
  const checked = callAt(call, address, key);
  call.reached(checked.context());
  return checked.client(KeyService).whoAmI({}, call.once());
}

/** The same run at an address, with a key or with none. */
function callAt(call: Call, address: string, key: string): Call {
  const { globals, surroundings, argv, config } = call;
  // The key as it is going to be used, whatever else the environment holds.
  const { MUSTER_API_KEY_FILE: _, ...others } = surroundings.env;
  const env = { ...others, MUSTER_API_KEY: key, MUSTER_CONTEXT: "", MUSTER_ORG: globals.org ?? "" };
  const { tlsCa, tlsCert, tlsKey } = globals;
  const files = config.files.map((one) => ({ ...one, settings: new Map(one.settings) }));
  for (const { settings } of files) settings.delete("context");
  return prepareCall({ ...surroundings, env }, { address, tlsCa, tlsCert, tlsKey }, argv, () => {}, {
    config: { ...config, files },
  });
}

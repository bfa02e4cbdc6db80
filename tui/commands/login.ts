import { KeyService, type WhoAmIResponse, WhoAmIResponseSchema } from "@muster/client/v1/key_service";
import { type Call, prepareCall } from "../call.ts";
import type { Cli } from "../command.ts";
import { namedContext, noContext } from "../config/choose.ts";
import { removeCredential, storeCredential } from "../config/credentials.ts";
import { changeUserConfig } from "../config/edit.ts";
import { credentialsPath } from "../config/files.ts";
import { readKey } from "../config/keys.ts";
import { contextName, normalizeAddress } from "../config/settings.ts";
import { defaultAddress } from "../context.ts";
import { CliError, usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { askHidden, canAsk } from "../input/ask.ts";
import { readText } from "../input/files.ts";
import { writeContext } from "./context.ts";

/** Registers `muster login` and `muster logout`. */
export function registerLogin(cli: Cli): void {
  cli.program
    .command("login")
    .description("Keep a coordinator's address and a key as a context.")
    .examples(
      "muster login -c prod --address https://muster.example:7070",
      "muster login -c prod --api-key-file prod.key",
      "vault read -field=key muster/prod | muster login -c prod --api-key-stdin",
    )
    .option("--api-key-stdin", "read the key from stdin")
    .notes(
      "Asks for the key unless it is given; it is checked, and kept for you alone in credentials.yaml\n" +
        "beside your configuration. It is sent to this address only.",
    )
    .action(cli.action((call, options: { apiKeyStdin?: boolean }) => login(call, options)));
  cli.program
    .command("logout")
    .description("Forget the key of a context.")
    .examples("muster logout", "muster logout -c prod")
    .action(
      cli.action(async (call) => {
        const { name } = namedContext(call.globals, call.surroundings.env, call.config);
        if (name === undefined) throw usageError("no context is used", "Name one with -c NAME.");
        const isGone = removeCredential(credentialsPath(call.surroundings), name);
        call.output.note(
          isGone
            ? `The key of ${name} is forgotten here. It still works: muster key revoke`
            : `No key of ${name} was kept.`,
        );
        return exitCodes.done;
      }),
    );
}

async function login(call: Call, options: { apiKeyStdin?: boolean }): Promise<number> {
  const { globals, config, surroundings, output } = call;
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
  const key = await obtainKey(call, options, address);
  const who = await checkKey(call, address, key);
  if (held === undefined || normalizeAddress(String(held)) !== address || globals.tlsCa !== undefined) {
    const { tlsCa, tlsCert, tlsKey, readOnly, org } = globals;
    const kept = { tlsCa, tlsCert, tlsKey, readOnly, org };
    writeContext({ ...call, globals: { ...kept, address } }, name, {});
  }
  storeCredential(credentialsPath(surroundings), name, { address, key });
  const isFirst = !config.files.some(({ settings }) => settings.has("context"));
  if (isFirst) changeUserConfig(surroundings, (document) => document.set("context", name));
  output.print({
    schema: WhoAmIResponseSchema,
    message: who,
    text: () => [],
    names: () => [name],
  });
  const scopes = who.key?.scopes.join(", ") || "nothing";
  output.note(
    `Logged in to ${address} as ${who.actor} of ${who.org || who.orgId}; the key allows ${scopes}.`,
  );
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
  const { globals, surroundings, argv, config } = call;
  // The key as it is going to be used, whatever else the environment holds.
  const env = { ...surroundings.env, MUSTER_API_KEY: key, MUSTER_CONTEXT: "" };
  const { tlsCa, tlsCert, tlsKey } = globals;
  const files = config.files.map((one) => ({ ...one, settings: new Map(one.settings) }));
  for (const { settings } of files) settings.delete("context");
  const checked = prepareCall({ ...surroundings, env }, { address, tlsCa, tlsCert, tlsKey }, argv, () => {}, {
    config: { ...config, files },
  });
  call.reached(checked.context());
  return checked.client(KeyService).whoAmI({}, call.once());
}

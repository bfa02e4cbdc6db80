import { KeyService, RegisterKeyResponseSchema } from "@muster/client/v1/key_service";
import type { Cli, MusterCommand } from "../command.ts";
import { exitCodes } from "../exit-codes.ts";
import { durationOption, listOption, wholeOption } from "../input/options.ts";
import { timeFromMs } from "../input/values.ts";
import { sanitize } from "../output/sanitize.ts";

interface RegisterOptions {
  readonly scheme: string;
  readonly hash: string;
  readonly prefix?: string;
  readonly lastFour?: string;
  readonly scope?: readonly string[];
  /** In milliseconds. */
  readonly expires?: number;
  readonly callsPerMinute?: number;
  readonly jobsPerDay?: number;
}

const limit = wholeOption(1, 1_000_000_000);

/** Registers `muster key register`. */
export function registerForeign(key: MusterCommand, cli: Cli): void {
  key
    .command("register <name>")
    .description("Register an API key that another system has made, by its hash. Its text is not needed.")
    .examples("muster key register shop --hash 47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU --scope submit")
    .requiredOption("--scheme <scheme>", "sha256: of the key's text, as better-auth stores it; or hmac")
    .requiredOption("--hash <hash>", "the hash: base64url without padding, base64, or hex")
    .requiredOption(
      "--scope <scope>",
      "what it allows: read, submit, work, operate, admin; repeat or use commas for more",
      listOption,
    )
    .option("--prefix <text>", "what the key begins with; without one every bad key costs a query")
    .option("--last-four <text>", "its last four characters, for people")
    .option("--expires <duration>", "ends by itself after so long (never)", durationOption)
    .option("--calls-per-minute <count>", "at most so many calls a minute (no limit)", limit)
    .option("--jobs-per-day <count>", "at most so many jobs a day, UTC (no limit)", limit)
    .notes(
      "The key must have at least 128 bits of entropy: a hash does not tell.\nhmac needs MUSTER_KEY_HMAC_SECRET at the coordinators.",
    )
    .action(
      cli.action(async (call, name: string, options: RegisterOptions) => {
        const { scheme, hash, prefix = "", lastFour = "", scope = [], expires } = options;
        const { callsPerMinute = 0, jobsPerDay = 0 } = options;
        const ends =
          expires === undefined ? {} : { expireTime: timeFromMs(call.surroundings.now() + expires) };
        const limits = { callsPerMinute, jobsPerDay };
        const request = { name, scheme, hash, prefix, lastFour, scopes: [...scope], limits, ...ends };
        const response = await call.client(KeyService).registerKey(request, call.once());
        const keyId = response.key?.keyId ?? "";
        call.output.print({
          schema: RegisterKeyResponseSchema,
          message: response,
          text: () => [`${sanitize(name)}\t${keyId}\tregistered`],
          names: () => [keyId],
        });
        return exitCodes.done;
      }),
    );
}

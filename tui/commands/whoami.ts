import { KeyService, WhoAmIResponseSchema } from "@muster/client/v1/key_service";
import type { Cli } from "../command.ts";
import { exitCodes } from "../exit-codes.ts";
import { sanitize } from "../output/sanitize.ts";
import { layFacts } from "../output/table.ts";
import { showTimeAndAge } from "../output/time.ts";
import { roleWord } from "./person-roles.ts";

/** Registers `muster whoami`. */
export function registerWhoAmI(cli: Cli): void {
  cli.program
    .command("whoami")
    .description("Show who you are to the coordinator: the org, the key, and what it allows.")
    .examples("muster whoami", "muster whoami --json | jq -r '.key.scopes[]'")
    .action(
      cli.action(async (call) => {
        const response = await call.client(KeyService).whoAmI({}, call.once());
        const { key, person, actor, org, orgId } = response;
        const nowMs = call.surroundings.now();
        call.output.print({
          schema: WhoAmIResponseSchema,
          message: response,
          text: () =>
            layFacts(
              [
                ["org", `${org} (${orgId})`],
                ["you", actor],
                ["key", key && `${key.name} (${key.keyId}, ${key.type})`],
                ["name", person && sanitize(person.name)],
                ["role", person && (roleWord(person.role) || "none: no org is chosen")],
                ["github", person?.githubLogin],
                ["worker", key?.workerName],
                ["may", (key?.scopes ?? response.scopes).join(", ")],
                ["made", showTimeAndAge(key?.createTime, nowMs)],
                ["ends", key && (showTimeAndAge(key.expireTime, nowMs) || "never")],
                ["coordinator", `${call.context().address} (version ${response.serverVersion})`],
              ],
              call.output.layout,
            ),
          names: () => [actor],
        });
        return exitCodes.done;
      }),
    );
}

import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { KeyService, RotateKeyResponseSchema } from "@muster/client/v1/key_service";
import type { Cli, MusterCommand } from "../command.ts";
import { usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { confirmDanger, quote } from "../input/confirm.ts";
import { keepNewKey } from "../input/key-file.ts";
import { durationOption } from "../input/options.ts";
import { sanitize } from "../output/sanitize.ts";
import { showDuration } from "../output/time.ts";
import { findKey } from "./named-key.ts";

interface RotateOptions {
  /** In milliseconds. */
  readonly overlap?: number;
  readonly reason?: string;
  readonly keyFile?: string;
}

const dayMs = 86_400_000;

/** Registers `muster key rotate`. */
export function registerRotate(key: MusterCommand, cli: Cli): void {
  key
    .command("rotate <key>")
    .description(
      "Make the successor of a key. The old one ends after the overlap. The new text is shown this once.",
    )
    .examples(
      "muster key rotate ci --key-file ci.key",
      'muster key rotate 4fQz81aB9xYw --overlap 0s --reason "it was in a log" --confirm ci',
    )
    .option(
      "--overlap <duration>",
      "how long the old one stays valid; 0s: it ends at once (24h)",
      durationOption,
    )
    .option("--reason <text>", "for people")
    .option("--key-file <path>", "write it to this new file, for your user alone, instead of stdout")
    .notes(
      "The new key has the name, scopes, limits and worker of the old one,\nand lives as long as that was given.",
    )
    .action(
      cli.action(async (call, idOrName: string, options: RotateOptions) => {
        const { output } = call;
        const { overlap = dayMs, reason = "", keyFile } = options;
        if (output.format === "name" && keyFile === undefined) {
          throw usageError(
            "-o name prints the id alone, and the text of the key is never shown again",
            "Give --key-file, or leave -o name out.",
          );
        }
        const { keyId, name } = await findKey(call, idOrName);
        if (overlap === 0) {
          const why = reason === "" ? "" : ` --reason ${quote(reason)}`;
          await confirmDanger(call, {
            level: "severe",
            what: `Rotate the key ${name} (${keyId}); the old one ends at once`,
            expected: name,
            command: `muster key rotate ${keyId} --overlap 0s${why}`,
          });
        }
        const request = { keyId, overlap: durationFromMs(overlap), reason };
        const make = () => call.client(KeyService).rotateKey(request, call.once());
        const response =
          keyFile === undefined
            ? await make()
            : await keepNewKey(call.surroundings, keyFile, async () => {
                const answer = await make();
                const id = answer.key?.keyId;
                const suggestion = `Revoke it with \`muster key revoke ${id}\`, and make another.`;
                return { answer, key: answer.text, made: `the key ${id} is made`, suggestion };
              });
        const newId = response.key?.keyId ?? "";
        const shown = keyFile === undefined ? response : { ...response, text: "" };
        output.print({
          schema: RotateKeyResponseSchema,
          message: create(RotateKeyResponseSchema, shown),
          text: () => (keyFile === undefined ? [sanitize(response.text)] : []),
          names: () => [newId],
        });
        const old =
          overlap === 0
            ? "The old one has ended."
            : `The old one (${keyId}) ends in ${showDuration(overlap)}.`;
        const where =
          keyFile === undefined ? "This is its text; it is not shown again." : `Its text is in ${keyFile}.`;
        output.note(`Made the key ${name} (${newId}). ${where} ${old}`);
        return exitCodes.done;
      }),
    );
}

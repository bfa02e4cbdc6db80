import { relative, resolve } from "node:path";
import type { Call } from "../call.ts";
import type { Cli, MusterCommand } from "../command.ts";
import { usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { quote } from "../input/values.ts";
import { kindNames } from "../scaffold/kind.ts";
import { workerFiles } from "../scaffold/worker.ts";
import { writeNewFiles } from "../scaffold/write.ts";
import { readVersion } from "../version.ts";

interface NewOptions {
  readonly kind: string;
  readonly directory?: string;
  readonly dryRun?: boolean;
}

/** Registers `muster worker new`. */
export function registerWorkerNew(worker: MusterCommand, cli: Cli): void {
  worker
    .command("new <name>")
    .description("Write a new worker in TypeScript: a handler with types, its test, and all that runs them.")
    .examples(
      "muster worker new resizer --kind image.resize",
      "cd resizer && npm install && npm test",
      "muster worker create resizer --key-file resizer.key",
      "MUSTER_WORKER_KEY=$(cat resizer.key) npm start",
    )
    .option("--kind <kind>", "the kind of jobs that it runs", "greet")
    .option("--directory <path>", "where to write it (default: a directory of its name, here)")
    .option("--dry-run", "only say what would be written")
    .action(
      cli.action(async (call, name: string, options: NewOptions) => newWorker(call, name, options), {
        toleratesConfig: true,
      }),
    );
}

function newWorker(call: Call, name: string, options: NewOptions): number {
  if (!/^[a-z0-9][a-z0-9._-]{0,99}$/.test(name)) {
    throw usageError(
      `${quote(name)} is not the name of a worker`,
      "It has 1 to 100 characters of a-z 0-9 . _ -, and begins with a letter or a digit.",
    );
  }
  const names = kindNames(options.kind);
  if (names === null) throw notAKind(options.kind);
  const given = options.directory ?? name;
  const directory = resolve(call.surroundings.cwd, given);
  const files = workerFiles(name, names, readVersion());
  if (options.dryRun !== true) writeNewFiles(directory, files);
  const paths = [...files.keys()].map((path) => relative(call.surroundings.cwd, resolve(directory, path)));
  call.output.printValue({ files: paths }, () => paths);
  if (options.dryRun === true) call.output.note("Nothing was written.");
  else call.output.note(`Next: cd ${given} && npm install && npm test`);
  return exitCodes.done;
}

/** What is wrong with a text that is no kind. */
export function notAKind(kind: string): Error {
  return usageError(
    `${quote(kind)} is not a kind`,
    "It has 1 to 100 characters of a-z 0-9 . _ -, like image.resize.",
  );
}

import type { Command } from "commander";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { sanitize } from "../../tui/output/sanitize.ts";
import { makeWholeProgram } from "../../tui/program.ts";
import { type HostileChoice, type HostilePeer, startHostilePeer } from "../support/hostile-peer.ts";
import { makeDirectory, startCli } from "./run-cli.ts";

// A cleared screen, a title, a colour in one character, a hidden and a turned text, a line that is none.
const hostile = "\u001b[2J\u001b]0;t\u0007\u009b31m\u202egpj\u200bx\r\nrm -rf\tz\u2028\u{e0041}";

// What starts processes, asks nothing of a coordinator, waits for a person elsewhere, or is a program of its own.
const others =
  /^(dev|server|worker run|help|docs|version|completion|proto|rpc|config|context|login|logout|person link-github|top)\b/;

let peer: HostilePeer;
let choice: HostileChoice = { text: hostile, nth: 0 };
let directory: ReturnType<typeof makeDirectory>;
let commands: string[][] = [];

beforeAll(async () => {
  peer = await startHostilePeer(() => choice);
  directory = makeDirectory();
  const running = startCli(["version"]);
  await running.exit;
  commands = leaves(await makeWholeProgram(running.surroundings), []);
});

afterAll(async () => {
  await peer.close();
  directory.remove();
});

function leaves(command: Command, path: readonly string[]): string[][] {
  if (command.commands.length > 0) {
    return command.commands.flatMap((one) => leaves(one, [...path, one.name()]));
  }
  const values = command.registeredArguments.map((argument) => wordFor(argument.name()));
  const words = path.at(-1) === "submit" ? values.slice(0, 1) : values;
  return others.test(path.join(" ")) ? [] : [[...path, ...words]];
}

function wordFor(argument: string): string {
  const whole = "01jd9y3f4k8qkx2m0000000001";
  const prefixes: Readonly<Record<string, string>> = {
    job: "job",
    batch: "bat",
    worker: "wrk",
    lease: "lse",
    artifact: "art",
  };
  if (argument in prefixes) return `${prefixes[argument]}_${whole}`;
  return argument === "number" ? "1" : argument === "part" ? "server" : "x";
}

async function run(argv: readonly string[], isTty: boolean): Promise<string> {
  const running = startCli(argv, {
    env: { MUSTER_ADDRESS: peer.address, MUSTER_API_KEY: "k" },
    cwd: directory.path,
    ...(isTty ? { terminal: { columns: 100, rows: 30 }, stdin: "" } : {}),
  });
  peer.begin(running.interrupt);
  await running.exit;
  return running.stdout() + running.stderr();
}

const ownColour = new RegExp(`${String.fromCharCode(27)}\\[[0-9;]*m`, "g");

// Our own colours are allowed, and tabs between the cells.
function unsafeLines(output: string): string[] {
  return output
    .replaceAll(ownColour, "")
    .split(/[\n\t]/)
    .filter((line) => sanitize(line) !== line);
}

describe("text of others", () => {
  test("reaches no terminal as it came, whatever the command, the state and the way out", async () => {
    expect(commands.length).toBeGreaterThan(50);
    const seen: string[] = [];
    const wrong: string[] = [];
    for (const nth of [0, 4]) {
      choice = { text: hostile, nth };
      for (const argv of commands) {
        const output = await run(argv, nth > 0);
        wrong.push(...unsafeLines(output).map((line) => `${argv.join(" ")}: ${JSON.stringify(line)}`));
        if (output.includes("␛")) seen.push(argv.slice(0, 2).join(" "));
      }
    }
    expect(wrong).toEqual([]);
    // It did get as far as the printers.
    expect(new Set(seen).size).toBeGreaterThan(commands.length / 2);
  }, 180_000);

  test("is escaped in JSON and YAML", async () => {
    choice = { text: hostile, nth: 0 };
    for (const format of ["json", "jsonl", "yaml", "name"]) {
      for (const argv of [["job", "list"], ["worker", "list"], ["attention"], ["batch", "list"]]) {
        expect({ argv, unsafe: unsafeLines(await run([...argv, "-o", format], false)) }).toEqual({
          argv,
          unsafe: [],
        });
      }
    }
    expect(unsafeLines(await run(["job", "list", "--fields", "jobId,spec.labels,error"], true))).toEqual([]);
  });
});

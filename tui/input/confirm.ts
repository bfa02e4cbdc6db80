import type { Call } from "../call.ts";
import { CliError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { sanitize } from "../output/sanitize.ts";
import { showCount } from "../output/time.ts";
import { askLine, canAsk } from "./ask.ts";

/**
 * How much an act can spoil. `mild` is done at once; `moderate` asks yes or no (`--yes`); `severe` asks to type a
 * name or a count (`--confirm <name|count>`).
 */
export type DangerLevel = "mild" | "moderate" | "severe";

/** An act that may have to be confirmed. */
export interface Danger {
  readonly level: DangerLevel;
  /** What is going to happen, as a sentence without its full stop: `Cancel 1,204 jobs that match "kind:a"`. */
  readonly what: string;
  /** How many things it touches, as the server counted them; undefined when it is one. */
  readonly count?: number;
  /** What must be typed when it is severe: the name, or the count without separators. Default: the count. */
  readonly expected?: string;
  /** The equal command line without `--yes` and `--confirm`: `muster job cancel --filter 'kind:a'`. */
  readonly command: string;
}

/** More than so many at once are a severe matter. */
export const severeCount = 50;

/** The level of an act on many: by a filter, or on more than 50, it is severe. */
export function dangerOfMany(count: number, isByFilter: boolean): DangerLevel {
  return isByFilter || count > severeCount ? "severe" : "moderate";
}

/**
 * Makes sure that the user means it; returns when they do. `--yes` says so for what is moderate, `--confirm` for
 * what is severe and for the rest. Without a terminal to ask on, or with `--no-input`, it throws NOT_CONFIRMED (exit
 * 2) with the exact command to run; who answers no gets DECLINED (exit 130).
 */
export async function confirmDanger(call: Call, danger: Danger): Promise<void> {
  const { level, what, count, command } = danger;
  if (level === "mild") return;
  const expected = level === "severe" ? (danger.expected ?? String(count ?? "")) : "";
  const { confirm, yes, input } = call.globals;
  if (confirm !== undefined && expected !== "") {
    if (confirm === expected) return;
    throw notConfirmed(
      `--confirm ${JSON.stringify(confirm)} is not what this asks for: ${what}`,
      `${command} --confirm ${quote(expected)}`,
    );
  }
  if (level === "moderate" && (yes === true || confirm !== undefined)) return;
  const flag = level === "moderate" ? "--yes" : `--confirm ${quote(expected)}`;
  if (input === false || !canAsk(call.surroundings)) {
    throw notConfirmed(`this must be confirmed: ${what}`, `${command} ${flag}`);
  }
  if (await isMeant(call, what, expected)) return;
  throw new CliError("nothing was done", { reason: "DECLINED", exitCode: exitCodes.interrupted });
}

/** A word as a shell takes it. */
export function quote(word: string): string {
  return /^[\w.:/@%+,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

async function isMeant({ surroundings, output }: Call, what: string, expected: string): Promise<boolean> {
  const sentence = `${sanitize(what)}.`;
  if (expected === "") {
    const answer = await askLine(surroundings, `${sentence}\nGo on? [y/N] `);
    return /^y(es)?$/i.test(answer?.trim() ?? "");
  }
  const shown = /^\d+$/.test(expected) ? expected : sanitize(expected);
  const how = output.notePaint("bold", shown);
  const answer = await askLine(surroundings, `${sentence} It cannot be undone.\nType ${how} to confirm: `);
  const given = answer?.trim() ?? "";
  return given === expected || (/^\d+$/.test(expected) && given === showCount(Number(expected)));
}

function notConfirmed(message: string, command: string): CliError {
  return new CliError(message, {
    reason: "NOT_CONFIRMED",
    exitCode: exitCodes.usage,
    suggestion: `If you mean it: ${command}`,
  });
}

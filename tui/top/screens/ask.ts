import { ConnectError } from "@connectrpc/connect";
import { type Checked, confirmOverlay } from "../overlays/confirm.ts";
import { type FormOptions, type FormProblem, type FormValues, formOverlay } from "../overlays/form.ts";
import type { ActCall, Shell } from "../shell/screen.ts";
import type { Undo } from "../shell/toasts.ts";
import { problemsOf } from "./job-form.ts";

/** Something that is done to one thing on the server. */
export interface Act<Answer> {
  readonly run: (call: ActCall, reason: string) => Promise<Answer>;
  /** What to say when it is done. */
  readonly done: (answer: Answer) => string;
  readonly undo?: (answer: Answer) => Undo;
  /** Default: what is shown is read again. */
  readonly after?: (answer: Answer) => void;
}

/** What is asked before. */
export interface ActQuestion {
  readonly title: string;
  readonly lines: readonly string[];
  /** The button: `Drain it`. */
  readonly verb: string;
  /** What must be typed: this makes it severe. */
  readonly typed?: string;
  readonly check?: (signal: AbortSignal) => Promise<Checked>;
  readonly command: (reason: string) => string;
  readonly hasReason?: boolean;
}

/** Asks, and then does it. */
export function ask<Answer>(shell: Shell, question: ActQuestion, act: Act<Answer>): void {
  shell.open((close) =>
    confirmOverlay(
      { ...question, act: (reason) => void doNow(shell, act, reason) },
      () => shell.changed(),
      close,
    ),
  );
}

/** Does it at once, and says so. Answers whether it was done. */
export async function doNow<Answer>(shell: Shell, act: Act<Answer>, reason = ""): Promise<boolean> {
  const answer = await shell.act((call) => act.run(call, reason));
  if (answer === undefined) return false;
  tell(shell, act, answer);
  return true;
}

/** A form whose values become one call; what the server finds wrong is shown at its fields. */
export interface FormAct<Answer> extends Omit<FormOptions, "save" | "edit"> {
  /** Throws what the server answers. */
  readonly act: (values: FormValues) => Act<Answer>;
  /** What is wrong beyond single fields. */
  readonly check?: (values: FormValues) => readonly FormProblem[];
}

/** Opens a form that does something. */
export function askForm<Answer>(shell: Shell, form: FormAct<Answer>): void {
  const save = async (values: FormValues, close: () => void): Promise<readonly FormProblem[]> => {
    const wrong = form.check?.(values) ?? [];
    if (wrong.length > 0) return wrong;
    const act = form.act(values);
    let refused: readonly FormProblem[] = [{ field: "", message: "it was not done" }];
    const answer = await shell.act(
      (call) => act.run(call, values["reason"]?.trim() ?? ""),
      (error) => {
        refused = problemsOf(error);
        return true;
      },
    );
    if (answer === undefined) return refused;
    // First the form goes: what is told may open something of its own.
    close();
    tell(shell, act, answer);
    return [];
  };
  shell.open((close) =>
    formOverlay(
      { ...form, save: (values) => save(values, close), edit: shell.edit },
      () => shell.changed(),
      close,
    ),
  );
}

/** Reads what an action needs to know first: no action itself. Answers undefined when it cannot be read. */
export async function lookUp<Answer>(
  shell: Shell,
  read: (call: { readonly timeoutMs: number }) => Promise<Answer>,
): Promise<Answer | undefined> {
  try {
    return await read({ timeoutMs: 10_000 });
  } catch (error) {
    shell.say({ text: ConnectError.from(error).rawMessage, kind: "error" });
    return undefined;
  }
}

function tell<Answer>(shell: Shell, act: Act<Answer>, answer: Answer): void {
  const undo = act.undo?.(answer);
  shell.say({ text: act.done(answer), kind: "done", ...(undo === undefined ? {} : { undo }) });
  if (act.after === undefined) shell.restart();
  else act.after(answer);
}

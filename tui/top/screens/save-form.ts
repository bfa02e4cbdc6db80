import { confirmOverlay } from "../overlays/confirm.ts";
import type { FormField, FormProblem, FormValues } from "../overlays/form.ts";
import type { ActCall, Shell } from "../shell/screen.ts";
import { askForm, doNow } from "./ask.ts";

/** A form whose values are checked by the server, shown with what they change, and saved when that is right. */
export interface SaveForm<Checked, Saved> {
  readonly title: string;
  /** `Save nightly?` */
  readonly question: (values: FormValues) => string;
  /** There is none yet: everything that is said is shown. */
  readonly isNew: boolean;
  /** The fields as they are now. */
  readonly fields: readonly FormField[];
  readonly command: (values: FormValues) => string;
  /** What is wrong beyond single fields, before the server is asked. */
  readonly wrong?: (values: FormValues) => readonly FormProblem[];
  /** Asks the server whether it may be so; changes nothing. Throws what the server answers. */
  readonly check: (values: FormValues, options: ActCall["options"]) => Promise<Checked>;
  /** What the server made of it, for people: above what changes. */
  readonly lines?: (checked: Checked) => readonly string[];
  readonly save: (values: FormValues, options: ActCall["options"], reason: string) => Promise<Saved>;
  /** What to say when it is saved. */
  readonly done: (saved: Saved) => string;
  /** Default: what is shown is read again. */
  readonly after?: (saved: Saved) => void;
}

/** Opens it. Who does not save, or is refused, is back in the form with all that was entered. */
export function askSave<Checked, Saved>(
  shell: Shell,
  form: SaveForm<Checked, Saved>,
  entered: FormValues = {},
): void {
  const { title, fields, command, wrong, check } = form;
  askForm(shell, {
    ...{ title, verb: "preview", command },
    fields: fields.map((field) => ({ ...field, value: entered[field.name] ?? field.value })),
    ...(wrong === undefined ? {} : { check: wrong }),
    act: (values) => ({
      run: ({ options }) => check(values, options),
      done: () => "checked; not saved yet",
      after: (checked) => confirmSave(shell, form, values, checked),
    }),
  });
}

function confirmSave<Checked, Saved>(
  shell: Shell,
  form: SaveForm<Checked, Saved>,
  values: FormValues,
  checked: Checked,
): void {
  const { lines, save, done, after } = form;
  const changes = changesOf(form, values);
  shell.open((close) =>
    confirmOverlay(
      {
        title: form.question(values),
        lines: [...(lines?.(checked) ?? []), ...(changes.length === 0 ? ["Nothing changes."] : changes)],
        verb: "Save",
        command: () => form.command(values),
        act: async (reason) => {
          const run = ({ options }: ActCall, why: string) => save(values, options, why);
          const isSaved = await doNow(
            shell,
            { run, done, ...(after === undefined ? {} : { after }) },
            reason,
          );
          if (!isSaved) askSave(shell, form, values);
        },
        kept: () => askSave(shell, form, values),
      },
      () => shell.changed(),
      close,
    ),
  );
}

// A secret is never among what is shown.
function changesOf(
  { isNew, fields }: Pick<SaveForm<unknown, unknown>, "isNew" | "fields">,
  values: FormValues,
): string[] {
  return fields.flatMap(({ name, label, value, isHidden }) => {
    const now = (values[name] ?? "").trim();
    if (isNew ? now === "" : now === value.trim()) return [];
    if (isHidden === true) return [`${label}: a new secret`];
    return [isNew ? `${label}: ${now}` : `${label}: ${value || "(nothing)"} -> ${now || "(nothing)"}`];
  });
}

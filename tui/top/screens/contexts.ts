import { layLine } from "../lines.ts";
import { commandLine, shellWord } from "../shell/command-line.ts";
import type { ScreenFrame, Shell } from "../shell/screen.ts";
import { polledSource } from "../sources/polled.ts";
import { factLines } from "./facts.ts";
import { createListScreen, type ListScreen } from "./list-screen.ts";
import type { ColumnSpec } from "./list-view.ts";

/** A coordinator that the configuration names. */
export interface ContextEntry {
  readonly name: string;
  readonly address: string;
  /** Where it is said, e.g. a path. */
  readonly source: string;
  readonly isCurrent: boolean;
}

/** The contexts of the configuration, and how to go to another. */
export interface ContextChoice {
  readonly list: () => readonly ContextEntry[];
  /** Leaves this console for one of that context. */
  readonly use: (name: string) => void;
}

const columns: readonly ColumnSpec<ContextEntry>[] = [
  { id: "name", title: "CONTEXT", width: 20, cell: ({ name }) => ({ text: name }) },
  {
    id: "current",
    title: "",
    width: 7,
    cell: ({ isCurrent }) => ({ text: isCurrent ? "current" : "", style: "bold" }),
  },
  { id: "address", title: "ADDRESS", width: 0, cell: ({ address }) => ({ text: address }) },
];

/** The contexts: Enter goes to one. What is shown then is of that one alone. */
export function createContexts(shell: Shell, choice: ContextChoice): ListScreen<ContextEntry> {
  return createListScreen<ContextEntry>(shell, {
    id: "contexts",
    title: () => "Contexts",
    idOf: ({ name }) => name,
    columns,
    source: () =>
      polledSource<ContextEntry>(async () => ({ rows: choice.list(), tokens: { next: "", previous: "" } }), {
        everyMs: 30_000,
      }),
    none: "There are no contexts: muster context add makes one.",
    openRow: ({ name, isCurrent }) => {
      if (isCurrent) shell.say({ text: `this is ${name}`, kind: "info" });
      else choice.use(name);
    },
    preview: contextLines,
    keys: () => [],
    // Contexts are of this machine: no method is called.
    equals: [
      { command: "context list", method: "" },
      { command: "context use", method: "" },
    ],
    command: () => commandLine("context list"),
    copies: ({ name, address }) => [
      ["address", address],
      ["the command that opens it", commandLine("top", ["--context", name])],
      ["the command that makes it the usual one", commandLine("context use", shellWord(name))],
    ],
  });
}

function contextLines(entry: ContextEntry, frame: ScreenFrame): string[] {
  return [
    ...factLines(
      [
        ["context", entry.name],
        ["address", entry.address],
        ["said in", entry.source],
      ],
      frame,
    ),
    layLine(
      [{ text: entry.isCurrent ? " This is where you are." : " Enter goes there.", style: "dim" }],
      frame,
    ),
  ];
}

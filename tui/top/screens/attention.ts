import { type AttentionItem, ExplainService } from "@muster/client/v1/explain_service";
import type { KeyBinding } from "../shell/bindings.ts";
import { commandLine } from "../shell/command-line.ts";
import type { Shell } from "../shell/screen.ts";
import { polledSource } from "../sources/polled.ts";
import { createSnoozes, forgetfulKeeper, type Keeper } from "../store/snoozes.ts";
import { type Fix, fixEquals, fixOf, goToJobsOf, goToTarget, openWhy, readTarget } from "./attention-keys.ts";
import { attentionColumns, attentionHead, attentionLines } from "./attention-view.ts";
import { createListScreen, type ListScreen } from "./list-screen.ts";

const hourMs = 3_600_000;

/** What needs a person, the worst first: one row is one problem, with its cause, its effect and its fix. */
export function createAttention(shell: Shell, keeper: Keeper = forgetfulKeeper()): ListScreen<AttentionItem> {
  const client = shell.client(ExplainService);
  const snoozes = createSnoozes(keeper, shell.now());
  let areShown = false;
  let all: readonly AttentionItem[] = [];
  const isSnoozed = (id: string): boolean => snoozes.isSnoozed(id, shell.now());
  const open = (): readonly AttentionItem[] => all.filter(({ attentionId }) => !isSnoozed(attentionId));
  const current = (): AttentionItem | undefined => screen.list.current();
  const fixOfCurrent = (): Fix | undefined => {
    const item = current();
    return item === undefined ? undefined : fixOf(shell, item);
  };
  const onRow = (run: (item: AttentionItem) => void) => (): void => {
    const item = current();
    if (item !== undefined) run(item);
  };
  const hasRow = (fits: (item: AttentionItem) => string | undefined) => (): string | undefined => {
    const item = current();
    return item === undefined ? "nothing needs attention" : fits(item);
  };
  const look = (id: string, keys: readonly string[], label: string, run: () => void): KeyBinding => ({
    id,
    keys,
    label,
    group: "look",
    danger: "none",
    run,
  });
  const screen: ListScreen<AttentionItem> = createListScreen<AttentionItem>(shell, {
    id: "attention",
    title: () => "Attention",
    idOf: ({ attentionId }) => attentionId,
    most: 1_000,
    columns: attentionColumns(isSnoozed),
    source: () =>
      polledSource<AttentionItem>(async (signal) => {
        const { items, truncated } = await client.listAttention({}, { signal, timeoutMs: 30_000 });
        all = items;
        shell.badge("attention", open().length === 0 ? "" : `▲${open().length}`);
        return {
          rows: areShown ? items : open(),
          tokens: { next: "", previous: "" },
          note: truncated ? "only the worst 1,000 are shown" : "",
        };
      }),
    head: (_list, frame) => [attentionHead(open().length, all.length - open().length, areShown, frame)],
    none: "Nothing needs attention.",
    openRow: (item) => {
      const target = readTarget(item.target);
      if (target !== undefined) goToTarget(shell, target);
    },
    preview: attentionLines,
    previewRows: 10,
    keys: () => [
      {
        ...look(
          "attention.why",
          ["w"],
          "why?",
          onRow((item) => void openWhy(shell, item)),
        ),
        equal: { command: "job explain", method: "ExplainService.ExplainJob" },
        hint: 2,
        when: hasRow((item) =>
          item.jobIds.length > 0 || /^(job|wrk)_/.test(item.target) ? undefined : "no job is named",
        ),
      },
      {
        id: "attention.fix",
        keys: ["a"],
        label: () => fixOfCurrent()?.label ?? "apply the fix",
        group: "act",
        danger: "mild",
        equal: fixOfCurrent()?.equal ?? fixEquals[0],
        hint: 3,
        when: hasRow((item) =>
          fixOf(shell, item) === undefined
            ? "its fix is not one that the console can make"
            : shell.barrier("operate"),
        ),
        run: onRow((item) => fixOf(shell, item)?.run()),
      },
      {
        id: "attention.snooze",
        keys: ["z"],
        label: () => {
          const item = current();
          return item !== undefined && isSnoozed(item.attentionId) ? "no longer snooze" : "snooze 1h";
        },
        group: "act",
        danger: "none",
        hint: 4,
        when: hasRow(() => undefined),
        run: onRow((item) => {
          const { attentionId } = item;
          const wake = (): void => {
            snoozes.wake(attentionId);
            shell.restart();
          };
          if (isSnoozed(attentionId)) return wake();
          snoozes.snooze(attentionId, shell.now() + hourMs);
          shell.restart();
          shell.say({
            text: "snoozed for 1h, here alone",
            kind: "done",
            undo: { label: "no longer snooze", run: wake },
          });
        }),
      },
      look("attention.snoozed", ["Z"], "show, hide snoozed ones", () => {
        areShown = !areShown;
        shell.restart();
      }),
      {
        ...look(
          "attention.jobs",
          ["o"],
          "its jobs",
          onRow((item) => void goToJobsOf(shell, item)),
        ),
        group: "go",
        hint: 5,
        when: hasRow((item) => (readTarget(item.target) === undefined ? "it has none" : undefined)),
      },
    ],
    equals: [{ command: "attention list", method: "ExplainService.ListAttention" }],
    command: () => commandLine("attention list"),
    copies: ({ command, target }) => [
      ["the command that fixes it", command],
      ["what it is about", target],
    ],
  });
  return screen;
}

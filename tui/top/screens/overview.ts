import { type AttentionItem, ExplainService } from "@muster/client/v1/explain_service";
import type { Screen, Shell } from "../shell/screen.ts";
import { polledSource } from "../sources/polled.ts";
import { followFeed } from "../store/feed.ts";
import { createListStore, reportingSink } from "../store/list.ts";
import { listKeys } from "./list-keys.ts";
import { attentionRows, overviewLines } from "./overview-view.ts";

/** The first screen: what needs somebody, whether it flows, and whether the control plane is well. */
export function createOverview(shell: Shell): Screen {
  const list = createListStore<AttentionItem>({ idOf: (item) => item.attentionId, nowMs: shell.now() });
  const client = shell.client(ExplainService);
  const source = polledSource<AttentionItem>(
    async (signal) => {
      const { items } = await client.listAttention({}, { signal, timeoutMs: 30_000 });
      shell.badge("attention", items.length === 0 ? "" : `▲${items.length}`);
      return { rows: items, tokens: { next: "", previous: "" } };
    },
    { everyMs: 5_000 },
  );
  let height = 4;
  return {
    id: "overview",
    title: () => "Overview",
    wantsDetail: true,
    keys: () => [
      {
        id: "open",
        keys: ["enter"],
        label: "open",
        group: "go",
        danger: "none",
        hint: 1,
        when: () => (list.current() === undefined ? "nothing needs attention" : undefined),
        run: () => shell.show("attention"),
      },
      ...listKeys(list, { height: () => height, canMark: false }),
    ],
    view: (frame) => {
      height = attentionRows(frame);
      list.fit(height);
      return overviewLines({ status: shell.status(), attention: list.state() }, frame);
    },
    follow: (signal) =>
      followFeed(
        source,
        // The status tells of the connection; this list is beside it.
        { ...reportingSink(list, shell.changed), lose: () => undefined, refuse: () => undefined },
        { signal, now: shell.now },
      ),
    command: () => "muster status",
    equals: [
      { command: "status", method: "StatusService.WatchStatus" },
      { command: "status", method: "StatusService.GetStatus" },
      { command: "attention list", method: "ExplainService.ListAttention" },
    ],
    freeze: list.freeze,
    currentId: () => list.current()?.target,
  };
}

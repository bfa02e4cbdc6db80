import { AttentionCause, type AttentionItem } from "@muster/client/v1/explain_service";
import { showCounted } from "../../output/time.ts";
import { layEnds, layHeading } from "../lines.ts";
import { showMoment } from "../shell/moments.ts";
import type { ScreenFrame } from "../shell/screen.ts";
import { severityLooks } from "./attention-row.ts";
import { type Fact, factLines, whenText } from "./facts.ts";
import type { ColumnSpec } from "./list-view.ts";

/** The columns of the list of what needs a person. */
export function attentionColumns(isSnoozed: (id: string) => boolean): readonly ColumnSpec<AttentionItem>[] {
  return [
    {
      id: "severity",
      title: "SEV",
      width: ({ layout }) => (layout === "compact" ? 1 : 6),
      cell: ({ severity }, { glyphs, layout }) => {
        const look = severityLooks[severity];
        const glyph = glyphs === "ascii" ? look.ascii : look.glyph;
        return { text: layout === "compact" ? glyph : `${glyph} ${look.word}`, style: look.style };
      },
    },
    {
      id: "since",
      title: "SINCE",
      width: ({ time }) => (time === "relative" ? 6 : time === "clock" ? 8 : 20),
      align: "right",
      cell: ({ since }, frame) => ({ text: showMoment(since, frame) }),
    },
    {
      id: "jobs",
      title: "JOBS",
      width: 5,
      align: "right",
      rank: 1,
      cell: ({ jobs }) => ({ text: jobs === 0 ? "-" : String(jobs) }),
    },
    {
      id: "problem",
      title: "PROBLEM",
      width: 0,
      cell: ({ attentionId, summary }) =>
        isSnoozed(attentionId) ? { text: `(snoozed) ${summary}`, style: "dim" } : { text: summary },
    },
  ];
}

/** How many there are, above the list. */
export function attentionHead(open: number, snoozed: number, areShown: boolean, frame: ScreenFrame): string {
  const aside = snoozed === 0 ? "" : `  ${snoozed} snoozed${areShown ? "" : " (Z shows them)"}`;
  return layEnds(
    [
      { text: ` ${showCounted(open, "problem")}`, style: open > 0 ? "bold" : "dim" },
      { text: aside, style: "dim" },
    ],
    [{ text: "the worst first ", style: "dim" }],
    frame,
  );
}

/** A problem whole: why, what it does to work, what to do about it. */
export function attentionLines(item: AttentionItem, frame: ScreenFrame): string[] {
  const facts: Fact[] = [
    ["problem", `${item.summary}.`],
    ["effect", `${item.effect}.`],
    ["fix", `${item.fix}.`],
    ["run", item.command],
    ["about", item.target],
    ["since", whenText(item.since, frame)],
    ["holds", item.jobs === 0 ? "" : showCounted(item.jobs, "job")],
    ["jobs", item.jobIds.join(" ")],
  ];
  return [layHeading([{ text: causeWord(item.cause), style: "bold" }], frame), ...factLines(facts, frame)];
}

/** A cause as the command line writes it. */
export function causeWord(cause: AttentionCause): string {
  return (AttentionCause[cause] ?? "unknown").toLowerCase().replaceAll("_", "-");
}

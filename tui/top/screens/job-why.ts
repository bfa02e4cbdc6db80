import { setTimeout as delay } from "node:timers/promises";
import { ConnectError } from "@connectrpc/connect";
import { type ExplainJobResponse, ExplainService } from "@muster/client/v1/explain_service";
import { showCount } from "../../output/time.ts";
import { layHeading, layLine, type Piece } from "../lines.ts";
import { commandLine } from "../shell/command-line.ts";
import { shortId } from "../shell/frame.ts";
import { showMoment } from "../shell/moments.ts";
import type { Screen, ScreenFrame, Shell } from "../shell/screen.ts";
import { createScroll, scrollKeys, textLines } from "./text-pane.ts";

/** Why a job is not running: what it must pass, why each worker does not take it, what would release it. */
export function createWhy(shell: Shell, jobId: string): Screen {
  const scroll = createScroll();
  let answer: ExplainJobResponse | undefined;
  let failure: string | undefined;
  return {
    id: "job.why",
    title: () => `Why ${shortId(jobId)}`,
    keys: () => scrollKeys(scroll),
    view: (frame) => scroll.window(whyLines(answer, failure, frame), frame.rows),
    follow: async (signal) => {
      while (!signal.aborted) {
        try {
          answer = await shell.client(ExplainService).explainJob({ jobId }, { signal, timeoutMs: 30_000 });
          failure = undefined;
        } catch (error) {
          if (signal.aborted) return;
          failure = ConnectError.from(error).rawMessage;
        }
        shell.changed();
        await delay(5_000, undefined, { signal }).catch(() => undefined);
      }
    },
    command: () => commandLine("job explain", jobId),
    equals: [{ command: "job explain", method: "ExplainService.ExplainJob" }],
    currentId: () => jobId,
    scroll: scroll.by,
  };
}

/** The explanation as lines. */
export function whyLines(
  answer: ExplainJobResponse | undefined,
  failure: string | undefined,
  frame: ScreenFrame,
): string[] {
  const failed = failure === undefined ? [] : [layLine([{ text: ` ${failure}`, style: "red" }], frame)];
  if (answer === undefined)
    return failed.length > 0 ? failed : [layLine([{ text: " Asking...", style: "dim" }], frame)];
  const isAscii = frame.glyphs === "ascii";
  const [open, shut] = isAscii ? ["+", "x"] : ["✔", "✖"];
  const gates = answer.gates.flatMap((gate) => [
    layLine(
      [
        { text: ` ${gate.open ? open : shut} `, style: gate.open ? "dim-green" : "yellow" },
        { text: gate.name.padEnd(13), style: gate.open ? "dim" : "bold" },
        { text: gate.detail, style: gate.open ? "dim" : "plain" },
        ...(gate.openTime === undefined
          ? []
          : [{ text: `  opens ${showMoment(gate.openTime, { ...frame, time: "clock" })}` }]),
      ],
      frame,
    ),
    ...(gate.fix === "" ? [] : textLines(`    ${gate.fix}`, frame)),
  ]);
  const counts = Object.entries(answer.workerCounts)
    .map(([reason, count]) => `${showCount(count)} ${reason}`)
    .join(", ");
  const workers = answer.workers.map((worker) => {
    const pieces: Piece[] = [
      { text: ` ${worker.qualifies ? open : shut} `, style: worker.qualifies ? "green" : "yellow" },
      { text: worker.workerName.slice(0, 24).padEnd(24) },
      { text: ` ${worker.reason.padEnd(12)} `, style: "dim" },
      { text: worker.detail },
    ];
    return layLine(pieces, frame);
  });
  const heading = (text: string): string => layHeading([{ text, style: "bold" }], frame);
  return [
    ...failed,
    ...textLines(answer.summary, frame),
    ...(answer.releases.length === 0
      ? []
      : [heading("What would release it"), ...answer.releases.flatMap((text) => textLines(text, frame))]),
    ...(gates.length === 0 ? [] : [heading("What it must pass"), ...gates]),
    ...(workers.length === 0 ? [] : [heading(`Workers: ${counts}`), ...workers]),
    ...(answer.jobsAhead === 0
      ? []
      : [layLine([{ text: ` ${showCount(answer.jobsAhead)} jobs go before it.`, style: "dim" }], frame)]),
  ];
}

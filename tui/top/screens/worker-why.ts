import {
  ExplainService,
  type ExplainWorkerResponse,
  type ReadyLine,
} from "@muster/client/v1/explain_service";
import { showAge, showCount } from "../../output/time.ts";
import { layHeading, layLine } from "../lines.ts";
import { commandLine, shellWord } from "../shell/command-line.ts";
import { shortId } from "../shell/frame.ts";
import type { Screen, ScreenFrame, Shell } from "../shell/screen.ts";
import { quietLine, textLines } from "./facts.ts";
import { createPage } from "./page.ts";

/** Why a worker is idle: what keeps it from work, and which ready jobs it could and could not run. */
export function createWorkerWhy(shell: Shell, workerId: string, name: string): Screen {
  const client = shell.client(ExplainService);
  return createPage<ExplainWorkerResponse>(shell, {
    id: "worker-why",
    title: () => `${name === "" ? shortId(workerId) : name}: why?`,
    read: (signal) => client.explainWorker({ workerId }, { signal, timeoutMs: 30_000 }),
    everyMs: 5_000,
    lines: workerWhyLines,
    equals: [{ command: "worker explain", method: "ExplainService.ExplainWorker" }],
    command: () => commandLine("worker explain", shellWord(name || workerId)),
    subject: () => workerId,
  });
}

/** The answer in lines. */
function workerWhyLines({ summary, fixes, lines }: ExplainWorkerResponse, frame: ScreenFrame): string[] {
  const dot = frame.glyphs === "ascii" ? "-" : "·";
  return [
    ...textLines(summary, frame, "bold"),
    ...fixes.flatMap((fix) => textLines(`${dot} ${fix}`, frame)),
    layHeading([{ text: "Ready jobs", style: "bold" }], frame),
    ...(lines.length === 0
      ? [quietLine("Nothing is ready.", frame)]
      : lines.map((line) => readyLine(line, frame))),
  ];
}

function readyLine(line: ReadyLine, frame: ScreenFrame): string {
  const can = line.reason === "";
  const [yes, no] = frame.glyphs === "ascii" ? ["+", "x"] : ["✔", "✖"];
  const needs = line.requiredSkills.length === 0 ? "" : `  needs ${line.requiredSkills.join(" ")}`;
  const size = line.points > 1 ? `  ${line.points} points` : "";
  return layLine(
    [
      { text: ` ${can ? yes : no} `, style: can ? "green" : "red" },
      { text: `${showCount(line.ready).padStart(6)}  ${line.kind}  ${line.queue}${needs}${size}` },
      { text: `  ${showAge(line.readyTime, frame.nowMs)}`, style: "dim" },
      { text: can ? "" : `  ${line.reason}: ${line.detail}`, style: "yellow" },
    ],
    frame,
  );
}

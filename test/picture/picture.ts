import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { type ClusterJob, startConsoleCluster } from "../support/console-cluster.ts";
import { openTerminal, type Terminal } from "../support/terminal.ts";
import { drawTerminal } from "./svg.ts";

/*
 * Draws the picture of the console for the README: `muster top` itself, in a terminal, before a coordinator and a
 * worker that work. Needs tmux. `npm run picture` writes docs/console.svg.
 */
const target = fileURLToPath(new URL("../../docs/console.svg", import.meta.url));
const program = fileURLToPath(new URL("../../tui/bin/muster.js", import.meta.url));
const size = { columns: 100, rows: 24 };

const titles = ["shot 410", "shot 411", "shot 412", "shot 413"];
const inAnHour = { seconds: BigInt(Math.floor(Date.now() / 1000) + 3600), nanos: 0 };
const jobs: readonly ClusterJob[] = [
  { kind: "backup.s3", title: "nightly" },
  { kind: "index.repo", title: "acme/film", workMs: 300 },
  ...titles.map((title, index) => ({ kind: "render.frame", title, workMs: 40_000 + 25_000 * index })),
  { kind: "agent.codegen", title: "fix the flaky login test", workMs: 100_000 },
  { kind: "agent.codegen", title: "port the parser", workMs: 50_000 },
  { kind: "render.frame", title: "shot 500", requiredSkills: ["blender", "rtx"] },
  { kind: "backup.s3", title: "weekly", runTime: inAnHour },
];

const cluster = await startConsoleCluster();
let terminal: Terminal | undefined;
try {
  const ids = await cluster.submit(...jobs);
  const shot = ids[titles.length + 1] ?? "";
  await cluster.submit({
    kind: "agent.review",
    title: "look at shot 413",
    dependsOn: [{ parent: { case: "jobId", value: shot } }],
  });
  const env = { MUSTER_ADDRESS: cluster.address, MUSTER_API_KEY: cluster.key, LANG: "C.UTF-8" };
  terminal = await openTerminal({ ...size, env, command: `${process.execPath} ${program} top --view jobs` });
  await shows(terminal, "● live");
  await terminal.type("/-kind:index.repo");
  await terminal.press("Enter");
  await shows(terminal, "filter: -kind:index.repo");
  await shows(terminal, /10 of 10 *$/m);
  await terminal.press("j", "j", "j", "j", "j");
  await shows(terminal, /▌.*shot 413.* [1-9]\d%/);
  const text = await terminal.colourScreen();
  await writeFile(target, drawTerminal({ ...size, text, title: "muster top: the jobs of an org, live" }));
} finally {
  await terminal?.close();
  await cluster.close();
}

// Waits until it is shown; what never comes shows the screen instead.
async function shows({ screen }: Terminal, wanted: string | RegExp): Promise<void> {
  const giveUpAt = performance.now() + 60_000;
  for (;;) {
    const text = await screen();
    if (typeof wanted === "string" ? text.includes(wanted) : wanted.test(text)) return;
    if (performance.now() > giveUpAt) throw new Error(`${wanted} is not on the screen:\n${text}`);
  }
}

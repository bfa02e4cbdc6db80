import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { onTestFinished } from "vitest";
import type { DaemonOptions } from "../../worker/daemon.ts";
import type { TestServer } from "./coordinator.ts";

/** What a daemon said. */
export type DaemonLine = Readonly<Record<string, unknown>>;

/** A daemon in a process of its own. */
export interface DaemonProcess {
  readonly process: ChildProcess;
  readonly lines: readonly DaemonLine[];
  /** The first line, said or to come, that fits. */
  line(fits: (line: DaemonLine) => boolean): Promise<DaemonLine>;
  /** Its exit code; null when a signal ended it. */
  readonly exit: Promise<number | null>;
}

/** Starts one with a state directory `state` below the server's folder; it is attached when this resolves. */
export async function startDaemon(
  muster: TestServer,
  state: string,
  options: Partial<DaemonOptions> & { readonly key: string },
): Promise<DaemonProcess> {
  const path = new URL("daemon-process.ts", import.meta.url).pathname;
  const settings = { address: muster.server.workerAddress, stateDir: join(muster.folder, state), ...options };
  const child = spawn(process.execPath, [path, JSON.stringify(settings)], {
    stdio: ["ignore", "ignore", "inherit", "pipe"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const lines: DaemonLine[] = [];
  const reader = createInterface({ input: pipeOf(child) });
  reader.on("line", (text) => lines.push(JSON.parse(text)));
  const exit = once(child, "exit").then(([code]) => (typeof code === "number" ? code : null));
  const line = async (fits: (line: DaemonLine) => boolean): Promise<DaemonLine> => {
    for (let index = 0; ; ) {
      for (; index < lines.length; index++) {
        const found = lines[index];
        if (found !== undefined && fits(found)) return found;
      }
      const isOver = await Promise.race([once(reader, "line").then(() => false), exit.then(() => true)]);
      if (isOver && index === lines.length) throw new Error(`the daemon ended: ${JSON.stringify(lines)}`);
    }
  };
  await line(({ ready }) => ready === true);
  return { process: child, lines, line, exit };
}

function pipeOf(child: ChildProcess): Readable {
  const pipe = child.stdio[3];
  if (pipe === null || pipe === undefined || !("read" in pipe)) throw new Error("descriptor 3 is no pipe");
  return pipe;
}

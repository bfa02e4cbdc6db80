import { stripVTControlCharacters } from "node:util";
import { JobState } from "@muster/client/v1/job";
import type { Status } from "@muster/client/v1/status_service";
import { WorkerState } from "@muster/client/v1/worker";

/** Where progress is shown. */
export interface Screen {
  write(text: string): void;
  /** Columns of a terminal; undefined when it is none. */
  readonly columns: number | undefined;
}

/** Shows how far the demo is: one block, drawn again, on a terminal; plain lines elsewhere. */
export interface View {
  /** Something that happened, for good. */
  note(text: string): void;
  /** The latest status. */
  show(status: Status): void;
  /** Takes the block away; nothing is shown after it. */
  end(): void;
}

/** Time between two plain lines. */
const plainEveryMs = 2_000;
const barWidth = 40;

/** Makes the view. `total` jobs are to end; times are counted from `startedMs` on the clock of `nowMs`. */
export function createView(
  screen: Screen,
  { total, startedMs, nowMs }: { total: () => number; startedMs: number; nowMs: () => number },
): View {
  const { columns } = screen;
  const seconds = () => ((nowMs() - startedMs) / 1000).toFixed(1).padStart(5);
  let block: string[] = [];
  let plainAtMs = nowMs();
  const erase = () => (block.length === 0 ? "" : `\x1b[${block.length}A\r\x1b[J`);
  const draw = (lines: readonly string[], before = "") => {
    const cut = lines.map((line) => line.slice(0, (columns ?? 80) - 1));
    screen.write(`${erase()}${before}${cut.map((line) => `${line}\n`).join("")}`);
    block = cut;
  };
  return {
    note(text) {
      const line = `${seconds()} s  ${stripVTControlCharacters(text)}\n`;
      if (columns === undefined) screen.write(line);
      else draw(block, line);
    },
    show(status) {
      if (columns !== undefined) draw(blockLines(status, total(), seconds()));
      else if (nowMs() - plainAtMs >= plainEveryMs) {
        plainAtMs = nowMs();
        screen.write(`${seconds()} s  ${summaryLine(status, total())}\n`);
      }
    },
    end() {
      if (block.length > 0) screen.write(erase());
      block = [];
    },
  };
}

/** One line: how many jobs have ended, and what the others do. */
export function summaryLine(status: Status, total: number): string {
  const { ended, running, waiting } = countJobs(status);
  const online = status.workers?.online ?? 0;
  return `${ended} of ${total} jobs ended, ${running} running, ${waiting} waiting, ${online} workers online`;
}

/** The block of a terminal, a line an element. */
export function blockLines(status: Status, total: number, seconds: string): string[] {
  const { ended } = countJobs(status);
  const filled = total === 0 ? 0 : Math.min(barWidth, Math.round((ended / total) * barWidth));
  const bar = "#".repeat(filled).padEnd(barWidth, ".");
  const states = status.jobs.map(({ state, count }) => `${stateName(state)} ${count}`).join("  ");
  const workers = status.workerList.map(({ name, state, leases, capacity }) => {
    const held = `${leases} of ${capacity?.slots ?? 0} slots`;
    return `  ${stripVTControlCharacters(name).padEnd(12)}${workerStateName(state).padEnd(10)}${held}`;
  });
  return ["", `${seconds} s  [${bar}] ${ended} of ${total}`, `  ${states}`, ...workers];
}

function countJobs(status: Status): { ended: number; running: number; waiting: number } {
  const count = (...states: JobState[]) =>
    status.jobs
      .filter(({ state }) => states.includes(state))
      .reduce((sum, row) => sum + Number(row.count), 0);
  const { BLOCKED, SCHEDULED, READY, OFFERED, RUNNING, PARKED, SUCCEEDED, CANCELLED, DEAD } = JobState;
  return {
    ended: count(SUCCEEDED, CANCELLED, DEAD),
    running: count(RUNNING, OFFERED),
    waiting: count(BLOCKED, SCHEDULED, READY, PARKED),
  };
}

function stateName(state: JobState): string {
  return JobState[state].toLowerCase();
}

function workerStateName(state: WorkerState): string {
  return WorkerState[state].toLowerCase();
}

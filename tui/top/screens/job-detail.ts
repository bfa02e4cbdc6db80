import { toJson } from "@bufbuild/protobuf";
import { ArtifactService } from "@muster/client/v1/artifact_service";
import type { Job } from "@muster/client/v1/job";
import { JobSchema } from "@muster/client/v1/job";
import { paletteOverlay } from "../overlays/palette.ts";
import type { KeyBinding } from "../shell/bindings.ts";
import { commandLine } from "../shell/command-line.ts";
import { shortId } from "../shell/frame.ts";
import type { Screen, Shell } from "../shell/screen.ts";
import { type JobTab, jobTabBody, jobTabLine, jobTabNames } from "./job-detail-view.ts";
import { openJobCreate, submitFromEditor } from "./job-form.ts";
import { jobKeys } from "./job-keys.ts";
import { createLogs, recordOf } from "./job-logs.ts";
import { createScroll, scrollKeys } from "./text-pane.ts";

/** Opens a job: one page of truth, in tabs. */
export function openJob(shell: Shell, jobId: string, known?: Job): void {
  shell.push(createJobDetail(shell, jobId, known));
}

/** The screen of one job. */
export function createJobDetail(shell: Shell, jobId: string, known?: Job): Screen {
  const record = recordOf(shell, jobId, known);
  const scroll = createScroll();
  let tab: JobTab = "Summary";
  const current = (): Job | undefined => record.state().job;
  const step = (by: number): void => {
    tab = jobTabNames[(jobTabNames.indexOf(tab) + by + jobTabNames.length) % jobTabNames.length] ?? "Summary";
    if (tab === "Logs") scroll.toEnd();
    else scroll.toStart();
  };
  const look = (id: string, keys: readonly string[], label: string, run: () => void): KeyBinding => ({
    id,
    keys,
    label,
    group: "look",
    danger: "none",
    run,
  });
  const command = (): string => {
    switch (tab) {
      case "Summary":
      case "Payload":
        return commandLine("job get", jobId);
      case "Logs":
        return commandLine("job logs", jobId);
      case "Attempts":
      case "Timeline":
        return commandLine("job attempts", jobId);
      case "Artifacts":
        return commandLine("artifact list", jobId);
    }
  };
  return {
    id: "job",
    title: () => shortId(jobId),
    keys: () => [
      look("tab.next", ["]", "tab"], "next tab", () => step(1)),
      look("tab.previous", ["[", "shift-tab"], "previous tab", () => step(-1)),
      // The log screen goes on with what this one has read.
      ...jobKeys(shell, { current }).map((binding) =>
        binding.id === "job.logs"
          ? { ...binding, run: () => shell.push(createLogs(shell, record)) }
          : binding,
      ),
      {
        id: "artifact.url",
        keys: ["U"],
        label: "copy the URL of an artifact",
        group: "look",
        danger: "none",
        equal: { command: "artifact get", method: "ArtifactService.GetArtifactUrl" },
        when: () => (record.state().artifacts.length === 0 ? "it has no artifacts" : undefined),
        run: () => chooseArtifact(shell, record.state().artifacts),
      },
      {
        id: "job.create",
        keys: ["c"],
        label: "submit one like it",
        group: "act",
        danger: "none",
        equal: { command: "job submit", method: "JobService.SubmitJob" },
        when: () => shell.barrier("submit"),
        run: () => openJobCreate(shell, current()),
      },
      {
        id: "job.create.yaml",
        keys: ["E"],
        label: "submit one like it from your editor",
        group: "act",
        danger: "none",
        equal: { command: "job submit", method: "JobService.SubmitJob" },
        when: () => shell.barrier("submit"),
        run: () => void submitFromEditor(shell, current()),
      },
      ...scrollKeys(scroll),
    ],
    view: (frame) => {
      const state = record.state();
      const body = jobTabBody(state, tab, record.log.lines(), frame);
      return [jobTabLine(state, tab, frame), ...scroll.window(body, frame.rows - 1)];
    },
    follow: record.follow,
    freshness: record.state,
    equals: [
      { command: "job watch", method: "JobService.WatchJob" },
      { command: "job get", method: "JobService.GetJob" },
      { command: "job attempts", method: "JobService.ListAttempts" },
      { command: "artifact list", method: "ArtifactService.ListArtifacts" },
    ],
    command,
    currentId: () => jobId,
    copies: () => {
      const job = current();
      return job === undefined
        ? []
        : [
            ["JSON", JSON.stringify(toJson(JobSchema, job), null, 2)],
            ...(job.spec?.externalId ? [["external id", job.spec.externalId] as const] : []),
            ...(job.prUrl === "" ? [] : [["pull request", job.prUrl] as const]),
          ];
    },
    scroll: scroll.by,
  };
}

function chooseArtifact(
  shell: Shell,
  artifacts: readonly { readonly artifactId: string; readonly name: string }[],
): void {
  const copyUrl = async (artifactId: string, name: string): Promise<void> => {
    // Reading a URL changes nothing, so it is no action.
    const answer = await shell
      .client(ArtifactService)
      .getArtifactUrl({ artifactId }, { timeoutMs: 30_000 })
      .catch((error: unknown) => shell.say({ text: String(error), kind: "error" }));
    if (answer !== undefined) shell.copy(answer.url, `the URL of ${name} (good for 10 min)`);
  };
  const choices = artifacts.map(({ artifactId, name }) => ({
    label: name,
    about: artifactId,
    run: () => void copyUrl(artifactId, name),
  }));
  shell.open((close) =>
    paletteOverlay({ id: "artifacts", title: "Artifacts", choices, isMenu: true }, close),
  );
}

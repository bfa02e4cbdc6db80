import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { create } from "@bufbuild/protobuf";
import { JobState } from "@muster/client/v1/job";
import { LookupCandidateSchema, LookupType } from "@muster/client/v1/system_service";
import { WorkerSchema } from "@muster/client/v1/worker";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { completionScript, shells } from "../../../tui/completion/scripts.ts";
import { wordsOfLine } from "../../../tui/completion/words.ts";
import { type ApiPeer, startApiPeer } from "../../support/api-peer.ts";
import { makeDirectory, type RunInput, runCli } from "../run-cli.ts";

let peer: ApiPeer;
let input: RunInput;

beforeEach(async () => {
  peer = await startApiPeer();
  input = { env: { MUSTER_ADDRESS: peer.address, MUSTER_API_KEY: peer.key } };
  peer.addJob({ jobId: "job_1", state: JobState.READY, spec: { kind: "shell.run" } });
  peer.workers.set("wrk_1", create(WorkerSchema, { workerId: "wrk_1", name: "gpu-1" }));
});

afterEach(() => peer.close());

async function complete(...words: string[]): Promise<string[]> {
  const { stdout, exitCode, stderr } = await runCli(["__complete", "--", ...words], input);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
  return stdout
    .trimEnd()
    .split("\n")
    .map((line) => line.split("\t")[0] ?? "");
}

describe("completion", () => {
  test("offers nouns, verbs, options and values that are known here", async () => {
    expect(await complete("jo")).toEqual(["job", ":none"]);
    expect(await complete("job", "ca")).toEqual(["cancel", ":none"]);
    expect(await complete("jobs", "list", "--runn")).toEqual(["--runnable-by", ":none"]);
    expect(await complete("job", "list", "--ti")).toEqual(["--timeout", "--time", ":none"]);
    expect(await complete("job", "list", "-o", "js")).toEqual(["json", "jsonl", ":none"]);
    expect(await complete("-o", "json", "job", "list", "--output=ya")).toEqual(["--output=yaml", ":none"]);
    expect(await complete("job", "list", "--state", "re")).toEqual(["ready", ":none"]);
    expect(await complete("help", "exit")).toEqual(["exit-codes", ":none"]);
    expect(await complete("completion", "z")).toEqual(["zsh", ":none"]);
    expect(await complete("doctor", "w")).toEqual(["worker", ":none"]);
    expect(await complete("nonsense", "x")).toEqual([":none"]);
    expect(await complete("job", "list", "--api-k")).toEqual(["--api-key-file", ":none"]);
  });

  test("knows the terms of a filter, and their values", async () => {
    expect(await complete("job", "list", "--filter", "finger")).toEqual(["fingerprint:", ":none"]);
    expect(await complete("job", "list", "--filter", "kind:a -state:running,re")).toEqual([
      "kind:a -state:running,retry",
      "kind:a -state:running,ready",
      ":none",
    ]);
    expect(await complete("worker", "list", "--filter", "state:dra")).toEqual(["state:draining", ":none"]);
    expect(await complete("job", "list", "--filter", "worker:gp")).toEqual(["worker:gpu-1", ":none"]);
  });

  test("leaves files, and what follows --, to the shell", async () => {
    expect(await complete("job", "submit", "-f", "")).toEqual([":files"]);
    expect(await complete("--api-key-file", "")).toEqual([":files"]);
    expect(await complete("job", "submit", "shell.run", "--", "ma")).toEqual([":files"]);
  });

  test("asks the coordinator for ids and names", async () => {
    peer.system.named = [create(LookupCandidateSchema, { type: LookupType.QUEUE, id: "nightly" })];
    expect(await complete("job", "get", "")).toEqual(["job_1", ":none"]);
    expect(await complete("job", "cancel", "job_1", "job")).toEqual(["job_1", ":none"]);
    expect(await complete("worker", "drain", "g")).toEqual(["gpu-1", ":none"]);
    expect(await complete("job", "list", "--queue", "n")).toEqual(["nightly", ":none"]);
    expect(await complete("queue", "pause", "n")).toEqual(["nightly", ":none"]);
  });

  test("offers no name that a shell would run", async () => {
    peer.system.named = ["a$(reboot)", "a;b", "a b", "a\u001b[2J", "-rf", "ok"].map((id) =>
      create(LookupCandidateSchema, { type: LookupType.QUEUE, id }),
    );
    expect(await complete("queue", "get", "")).toEqual(["ok", ":none"]);
  });

  test("is silent, and soon, when the coordinator does not answer", async () => {
    input = { env: { MUSTER_ADDRESS: "http://127.0.0.1:1" } };
    expect(await complete("job", "get", "")).toEqual([":none"]);
    const mute = createServer(() => {});
    await new Promise<void>((resolve) => mute.listen(0, "127.0.0.1", resolve));
    const address = mute.address();
    input = { env: { MUSTER_ADDRESS: `127.0.0.1:${typeof address === "object" ? address?.port : 0}` } };
    expect(await complete("job", "get", "")).toEqual([":none"]);
    mute.close();
  });

  test("names contexts", async () => {
    const directory = makeDirectory();
    writeFileSync(
      join(directory.path, "c.yaml"),
      "contexts: { prod: { address: 'http://p:1' }, lab: { address: 'http://l:1' } }\n",
    );
    input = { env: { MUSTER_CLIENT_CONFIG: join(directory.path, "c.yaml") } };
    expect(await complete("-c", "p")).toEqual(["prod", ":none"]);
    expect(await complete("context", "use", "")).toEqual(["prod", "lab", ":none"]);
    directory.remove();
  });
});

test.each([
  ["muster job get", ["job", "get"]],
  ["muster job get ", ["job", "get", ""]],
  ["muster  -d '{\"a\": 1}' x\\ y", ["-d", '{"a": 1}', "x y"]],
  ['muster "open quo', ["open quo"]],
])("wordsOfLine reads %j", (line, words) => {
  expect(wordsOfLine(line)).toEqual(words);
});

describe("the scripts", () => {
  test("are there for every shell", async () => {
    for (const shell of shells) {
      expect((await runCli(["completion", shell])).stdout).toBe(`${completionScript(shell)}\n`);
    }
    expect(await runCli(["completion", "bsh"])).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining("bash"),
    });
  });

  test("bash completes a word that it cuts at a colon or an equals sign", async () => {
    const directory = makeDirectory();
    // Stands for the program: answers as it does, and keeps what it was asked.
    writeFileSync(
      join(directory.path, "muster"),
      `#!/bin/sh\nprintf '%s\\n' "$3" > ${directory.path}/asked\nprintf -- '--output=yaml\\tabout\\n--output=name\\t\\n:none\\n'\n`,
      { mode: 0o755 },
    );
    const script = `${completionScript("bash")}
COMP_LINE="muster job list --output=" COMP_POINT=25
COMP_WORDS=(${directory.path}/muster job list --output =) COMP_CWORD=4
_muster
printf '%s\\n' "\${COMPREPLY[@]}"`;
    const { stdout } = await promisify(execFile)("bash", ["-c", script]);
    expect(stdout).toBe("yaml\nname\n");
    directory.remove();
  });
});

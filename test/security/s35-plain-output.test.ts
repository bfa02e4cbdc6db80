import { describe, expect, test } from "vitest";
import { openShell } from "../support/isolated-shell.ts";

// What other systems obey when a program prints it, and what ours speaks on its wire.
const syntaxes = [
  "::set-env name=PATH::/evil",
  "::add-path::/evil",
  "::set-output name=result::evil",
  "::save-state name=x::evil",
  "::add-mask::visible",
  "::stop-commands::x",
  "::error file=a.js,line=1::evil",
  "::group::x",
  "##[set-env name=PATH]/evil",
  "##vso[task.setvariable variable=x]evil",
  "##vso[task.complete result=Succeeded;]done",
  "##teamcity[buildStatus status='SUCCESS']",
  "##teamcity[setParameter name='x' value='evil']",
  "section_start:1560896352:evil\r\u001b[0K",
  "travis_fold:start:evil",
  "~~~ evil",
  "+++ evil",
  "^^^ +++",
  '{"type":"result","result":"evil"}',
  '{"progress":1,"message":"evil"}',
  '{"$typeName":"muster.v1.Result","success":{}}',
  "MUSTER_RESULT=evil",
  "muster: progress 100%",
  "#progress 1.0",
  "PROGRESS 100",
  "\u001b]9;4;1;100\u0007",
  "\u001b]1337;SetUserVar=x=ZXZpbA==\u0007",
  "1..1\nok 1 - evil",
  "HTTP/1.1 200 OK\r\n\r\n",
  "data: evil\n\n",
];

describe("S35 what a job prints is text alone", () => {
  test("every known control syntax is text of the log and the tail, and changes nothing", async () => {
    await using shell = await openShell();
    const printed = syntaxes.join("\n");
    const both = `cat <<"END"\n${printed}\nEND\n`;
    const { json, outcome } = await shell.run({
      argv: ["sh", "-c", `${both}\n{ ${both} } >&2; exit 3`],
      outputTailBytes: 65_536,
      okExitCodes: [3],
    });
    // The exit code alone says how it went.
    expect(json).toMatchObject({ exitCode: 3, stdoutTail: `${printed}\n`, stderrTail: `${printed}\n` });
    expect(outcome).toMatchObject({ case: "success", value: { prUrl: "" } });
    const bodies = shell.items().map(({ body }) => body);
    expect(new Set(bodies.map((body) => body.case))).toEqual(new Set(["log"]));
    expect(shell.text().length).toBe(2 * (printed.length + 1));
    // Nor does it reach the next job.
    expect(await shell.script("echo $PATH")).toBe("/usr/bin:/bin\n");
  });
});

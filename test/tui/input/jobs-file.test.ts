import { timestampMs } from "@bufbuild/protobuf/wkt";
import { DependencyPolicy } from "@muster/client/v1/job";
import { describe, expect, test } from "vitest";
import { CliError } from "../../../tui/errors.ts";
import { readJobsFile } from "../../../tui/input/jobs-file.ts";
import { textOfPayload } from "../../../tui/input/payload.ts";

const nowMs = Date.UTC(2026, 10, 22, 14, 0, 0);

function problems(text: string, name: string): string[] {
  try {
    readJobsFile(text, name, nowMs);
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    return error.violations.map(({ field, message }) => `${field}: ${message}`);
  }
  return [];
}

describe("a YAML file", () => {
  test("names what its jobs wait for by refs and ids", () => {
    const { jobs } = readJobsFile(
      `jobs:
  - { kind: build, ref: build }
  - kind: deploy
    dependsOn: [build, job_01h455vb4pex5vsknk084sn02q, { externalId: mine }]
    dependencyPolicy: release
`,
      "jobs.yaml",
      nowMs,
    );
    expect(jobs[0]?.ref).toBe("build");
    expect(jobs[1]?.dependsOn.map(({ parent }) => [parent.case, parent.value])).toEqual([
      ["ref", "build"],
      ["jobId", "job_01h455vb4pex5vsknk084sn02q"],
      ["externalId", "mine"],
    ]);
    expect(jobs[1]?.dependencyPolicy).toBe(DependencyPolicy.RELEASE);
    const wrong = "kind: x\ndependsOn: [7, { ref: a, jobId: b }, { job: c }, {}]\ndependencyPolicy: releas\n";
    expect(problems(wrong, "jobs.yaml")).toEqual([
      "jobs.yaml:2:13: dependsOn[0]: must be a mapping of Dependency fields, not 7",
      "jobs.yaml:2:16: dependsOn[1]: has jobId and ref: give one of them",
      expect.stringContaining('dependsOn[2].job: unknown field "job"'),
      "jobs.yaml:2:50: dependsOn[3]: must name a job by one of ref, jobId and externalId",
      'jobs.yaml:3:19: dependencyPolicy: is neither cancel nor release: "releas". Did you mean release?',
    ]);
    expect(problems("kind: x\ndependsOn: build\n", "jobs.yaml")).toEqual([
      'jobs.yaml:2:12: dependsOn: must be a list of jobs, not the text "build"',
    ]);
  });

  test("is a list of jobs with words for priority, durations and times", () => {
    const file = readJobsFile(
      `title: nightly
jobs:
  - kind: shell.run
    payload: { argv: [echo, "hi"] }
    priority: high
    requiredSkills: [docker]
    labels: { team: web }
    softTimeout: 1h30m
    runTime: in 10m
    retry: { maxAttempts: 5, backoffInitial: 30s, backoffFactor: 1.5 }
  - kind: report
    required_skills: [gpu]
`,
      "jobs.yaml",
      nowMs,
    );
    const [first, second] = file.jobs;
    expect(file.title).toBe("nightly");
    expect(file.places).toEqual(["jobs.yaml:3:5", "jobs.yaml:11:5"]);
    expect(first).toMatchObject({
      kind: "shell.run",
      priority: 192,
      requiredSkills: ["docker"],
      labels: { team: "web" },
    });
    expect(textOfPayload(first?.payload)).toBe('{"argv":["echo","hi"]}');
    expect(first?.softTimeout?.seconds).toBe(5_400n);
    expect(first?.runTime === undefined ? 0 : timestampMs(first.runTime)).toBe(nowMs + 600_000);
    expect(first?.retry).toMatchObject({ maxAttempts: 5, backoffFactor: 1.5 });
    expect(second).toMatchObject({ kind: "report", requiredSkills: ["gpu"] });
  });

  test("may hold a job a document", () => {
    const file = readJobsFile("kind: a\n---\nkind: b\npayload: null\n---\n", "jobs.yaml", nowMs);
    expect(file.jobs.map(({ kind }) => kind)).toEqual(["a", "b"]);
    expect(textOfPayload(file.jobs[1]?.payload)).toBe("null");
  });

  test("that is malformed is refused with line and column", () => {
    expect(problems("jobs:\n  - kind: a\n    payload: {x: [1, 2\n", "jobs.yaml")[0]).toMatch(
      /^jobs\.yaml:\d+:\d+: is not YAML: /,
    );
    expect(problems("kind: a\nkind: b\n", "jobs.yaml")[0]).toMatch(/^jobs\.yaml:2:1: is not YAML: .*unique/);
  });

  test("tells all problems at once: unknown fields with what was meant, wrong types with their path", () => {
    const text = `jobs:
  - kind: a
    requiredSkils: [x]
    points: many
  - kind: b
    retry:
      maxAtempts: 3
    labels: { version: 1.2 }
    softTimeout: 5 minutes
    exclusive: "yes"
  - title: no kind
tilte: x
`;
    expect(problems(text, "jobs.yaml")).toEqual([
      'jobs.yaml:3:5: jobs[0].requiredSkils: unknown field "requiredSkils"; did you mean requiredSkills?',
      'jobs.yaml:4:13: jobs[0].points: must be a whole number, not the text "many"',
      'jobs.yaml:7:7: jobs[1].retry.maxAtempts: unknown field "maxAtempts"; did you mean maxAttempts?',
      "jobs.yaml:8:24: jobs[1].labels.version: must be text, not 1.2; quote it",
      expect.stringMatching(/^jobs\.yaml:9:18: jobs\[1\]\.softTimeout: is not a duration: "5 minutes"/),
      'jobs.yaml:10:16: jobs[1].exclusive: must be true or false, not the text "yes"',
      "jobs.yaml:11:5: jobs[2]: needs a kind, like kind: shell.run",
      'jobs.yaml:12:1: tilte: unknown field "tilte"; Did you mean title?',
    ]);
  });

  test.each([
    ["jobs: 3\n", "jobs.yaml:1:7: jobs: must be a list of jobs"],
    ["jobs:\n  - [1]\n", "jobs.yaml:2:5: jobs[0]: must be a mapping of JobSpec fields, not a list"],
    ["kind: 5\n", 'jobs.yaml:1:7: kind: must be text, not 5; quote it: "5"'],
    [
      "kind: a\npayload: { json: { x: 1 } }\n",
      "jobs.yaml:2:10: payload: is the document itself here: leave out the inner json:",
    ],
    ["a: &a [*a]\n", expect.stringContaining("jobs.yaml:1:1")],
  ])("refuses %j", (text, problem) => {
    expect(problems(text, "jobs.yaml")).toContainEqual(problem);
  });

  test("without jobs is refused", () => {
    expect(() => readJobsFile("", "jobs.yaml", nowMs)).toThrow("jobs.yaml holds no jobs");
    expect(() => readJobsFile("jobs: []", "jobs.yaml", nowMs)).toThrow("jobs.yaml holds no jobs");
  });

  test("with very many problems shows twenty", () => {
    const shown = problems("x: 1\n---\n".repeat(50), "jobs.yaml");
    expect(shown).toHaveLength(21);
    expect(shown.at(-1)).toBe(": and 30 more");
  });
});

describe("JSON lines", () => {
  test("are a job each, blank lines aside", () => {
    const file = readJobsFile('{"kind":"a","payload":{"data":"x"}}\n\n{"kind":"b"}\n', "stdin", nowMs);
    expect(file.jobs.map(({ kind }) => kind)).toEqual(["a", "b"]);
    expect(file.places).toEqual(["stdin:1", "stdin:3"]);
    expect(textOfPayload(file.jobs[0]?.payload)).toBe('{"data":"x"}');
  });

  test("are refused by their line", () => {
    expect(problems('{"kind":"a"}\n{"kind":\n{"kind":"c","queu":"q"}\n', "stdin")).toEqual([
      expect.stringMatching(/^stdin:2: is not JSON: /),
      'stdin:3: queu: unknown field "queu"; did you mean queue?',
    ]);
  });

  test("are told from a JSON document over several lines", () => {
    const document = '{\n  "jobs": [\n    {"kind": "a"}\n  ]\n}\n';
    expect(readJobsFile(document, "stdin", nowMs).jobs).toHaveLength(1);
    expect(readJobsFile('{"jobs":[{"kind":"a"},{"kind":"b"}]}', "stdin", nowMs).jobs).toHaveLength(2);
  });
});

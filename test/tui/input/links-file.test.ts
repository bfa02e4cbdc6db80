import { describe, expect, test } from "vitest";
import { CliError } from "../../../tui/errors.ts";
import { readLinksFile } from "../../../tui/input/links-file.ts";

const problemsOf = (text: string): string[] => {
  try {
    readLinksFile(text, "links.yaml");
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    return error.violations.map(({ field, message }) => `${field} ${message}`.trim());
  }
  throw new Error("the file was read");
};

describe("a file of links", () => {
  test("is read whole, as YAML or JSON; an empty one publishes nothing", () => {
    const yaml = `
projects:
  - project: acme/web
    root: /src/web
    remoteUrl: git@example.com:web
    linkedBy: me
    linkedAt: 2026-11-22T14:00:00Z
sessions:
  - { id: web-main, project: acme/web, agent: codex, agentSessionId: "0199", state: busy, primary: true }
  - { id: web-old, archived: true, label: Old, role: review, terminalTarget: "tmux:1", activeAt: "2026-11-22T14:00:00Z" }
`;
    const at = new Date("2026-11-22T14:00:00Z");
    const expected = {
      linkedProjects: [
        {
          project: "acme/web",
          root: "/src/web",
          remoteUrl: "git@example.com:web",
          linkedBy: "me",
          linkedAt: at,
        },
      ],
      sessions: [
        {
          id: "web-main",
          project: "acme/web",
          agent: "codex",
          agentSessionId: "0199",
          state: "busy",
          primary: true,
        },
        {
          id: "web-old",
          archived: true,
          label: "Old",
          role: "review",
          terminalTarget: "tmux:1",
          activeAt: at,
        },
      ],
    };
    expect(readLinksFile(yaml, "links.yaml")).toEqual(expected);
    const json = JSON.stringify({ projects: expected.linkedProjects, sessions: expected.sessions });
    expect(readLinksFile(json, "links.json")).toEqual(expected);
    expect(readLinksFile("", "links.yaml")).toEqual({ linkedProjects: [], sessions: [] });
  });

  test("is refused with all that is wrong, each with its place", () => {
    expect(
      problemsOf(`
projects:
  - { project: "a b", root: 7 }
  - root: /
sessions:
  - id: one
    agnet: codex
    state: asleep
    primary: yes please
  - id: one
    primary: true
more: 1
`),
    ).toEqual([
      expect.stringMatching(/^links.yaml:3:16 projects\[0\]\.project: must have 1 to 200/),
      expect.stringMatching(/^links.yaml:3:29 projects\[0\]\.root: must be text/),
      expect.stringMatching(/^links.yaml:4:5 projects\[1\]: needs project/),
      expect.stringMatching(/^links.yaml:8:12 sessions\[0\]\.state: must be one of idle, busy, ended/),
      expect.stringMatching(/^links.yaml:9:14 sessions\[0\]\.primary: must be true or false/),
      expect.stringMatching(/^links.yaml:7:5 sessions\[0\]\.agnet: unknown field .*Did you mean agent\?/),
      expect.stringMatching(/^links.yaml:11:14 sessions\[1\]\.primary: needs a project/),
      expect.stringMatching(/^links.yaml:12:1 more: unknown field/),
      expect.stringMatching(/^links.yaml:10:9 sessions\[1\]\.id: "one" is there twice/),
    ]);
  });

  test.each([
    ["sessions: [", "is not YAML"],
    ["- a", "must be a mapping"],
    ["sessions: {}", "sessions: must be a list"],
    [`sessions: [{ id: "${"x".repeat(201)}" }]`, "at most 200"],
    ['sessions: [{ id: "a\\u001b" }]', "control characters"],
    ["sessions: [{ id: s, activeAt: soon }]", "must be a time"],
    ["sessions: [*a]", "nresolved alias"],
  ])("that reads %j is refused", (text, words) => {
    expect(problemsOf(text).join("\n")).toContain(words);
  });
});

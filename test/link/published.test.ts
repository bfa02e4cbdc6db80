import { create } from "@bufbuild/protobuf";
import { LinksChangedSchema } from "@muster/client/v1/link";
import { describe, expect, test } from "vitest";
import { conflictMessages, readPublished } from "../../server/link/published.ts";

type Links = Parameters<typeof create<typeof LinksChangedSchema>>[1];
const read = (links: Links) => readPublished(create(LinksChangedSchema, links));

describe("what a worker publishes", () => {
  test("is read whole", () => {
    const { projects, sessions, refused } = read({
      linkedProjects: [{ project: "acme/web", root: "/src", linkTime: { seconds: 1n } }],
      sessions: [{ sessionId: "s", project: "acme/web", primary: true, activeTime: { seconds: 2n } }],
    });
    expect(projects).toMatchObject([{ project: "acme/web", root: "/src", linkedAt: new Date(1_000) }]);
    expect(sessions).toMatchObject([{ sessionId: "s", saysPrimary: true, activeAt: new Date(2_000) }]);
    expect(refused).toEqual([]);
  });

  test.each([
    ["an id of 201 characters", { sessionId: "x".repeat(201) }, "sessionId"],
    ["no id", { sessionId: "" }, "sessionId"],
    ["a NUL in its id", { sessionId: "a\0" }, "sessionId"],
    ["a long label", { sessionId: "s", label: "x".repeat(501) }, "label"],
    ["a control character", { sessionId: "s", role: "a\u001b" }, "role"],
    ["half a character", { sessionId: "s", agent: "\ud800" }, "agent"],
    ["no name of a project", { sessionId: "s", project: "a b" }, "project"],
    ["an unknown state", { sessionId: "s", state: 9 }, "state"],
  ])("is refused entry by entry: a session with %s", (_, session, field) => {
    const { sessions, refused } = read({ sessions: [session, { sessionId: "good" }] });
    expect(sessions.map((one) => one.sessionId)).toEqual(["good"]);
    expect(refused).toMatchObject([{ workerId: null, detail: expect.stringContaining(field) }]);
  });

  test("has nothing twice, and no more than it may", () => {
    const { projects, sessions, refused } = read({
      linkedProjects: Array.from({ length: 202 }, (_, n) => ({ project: `p${n}`, root: "/" })),
      sessions: [{ sessionId: "s" }, { sessionId: "s", label: "second" }],
    });
    expect(projects).toHaveLength(200);
    expect(sessions).toMatchObject([{ sessionId: "s", label: "" }]);
    expect(refused.map((one) => one.detail)).toEqual([
      expect.stringContaining("p200"),
      expect.stringContaining("p201"),
      expect.stringContaining("twice"),
    ]);
  });

  test("is answered with a hundred conflicts at most, and the number of the others", () => {
    const { refused } = read({ sessions: Array.from({ length: 150 }, () => ({ sessionId: "" })) });
    const messages = conflictMessages(refused);
    expect(messages).toHaveLength(101);
    expect(messages.at(-1)?.detail).toContain("50 more");
  });
});

import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { OrgService } from "@muster/client/v1/org_service";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { documentsSchema } from "../../tui/apply/json-schema.ts";
import { resources } from "../../tui/apply/resources.ts";
import { startTestServer, type TestServer } from "../support/coordinator.ts";
import { makeDirectory, runCli } from "./run-cli.ts";

let muster: TestServer;
const home = makeDirectory();
beforeAll(async () => {
  muster = await startTestServer();
});
afterAll(async () => {
  await muster?.close();
  home.remove();
});

/** The command line of an org of its own, in a directory of its own. */
async function tenant(name: string) {
  const { text: key } = await muster.client(OrgService).createOrg({ name });
  const cwd = join(home.path, name);
  mkdirSync(cwd);
  const env = {
    MUSTER_ADDRESS: muster.server.apiAddress,
    MUSTER_API_KEY: key,
    XDG_STATE_HOME: join(cwd, "state"),
  };
  const run = (argv: readonly string[], stdin?: string) =>
    runCli([...argv], { cwd, env, ...(stdin === undefined ? {} : { stdin }) });
  const write = (file: string, text: string) => {
    mkdirSync(join(cwd, file, ".."), { recursive: true });
    writeFileSync(join(cwd, file), text);
  };
  return { run, write, cwd };
}

const review = `---
name: review
description: >-
  How to review
  a pull request
license: MIT
---

# Review

Read *all* of it.
`;

let wrong = 0;

describe("muster skill", () => {
  test("puts what a SKILL.md says, shows it, and prints its Markdown again", async () => {
    const { run, write } = await tenant("one");
    write("SKILL.md", review);
    const made = await run(["skill", "put", "-f", "SKILL.md"]);
    expect([made.stdout, made.exitCode]).toEqual([
      expect.stringMatching(/^review\tcreated\t[0-9a-f]{12}\n$/),
      0,
    ]);
    expect(made.stderr).toBe("SKILL.md: not kept: license\n");
    expect((await run(["skill", "put", "-f", "SKILL.md"])).stdout).toMatch(/^review\tunchanged\t/);
    const body = await run(["skill", "get", "review", "--body"]);
    expect(body.stdout).toBe("# Review\n\nRead *all* of it.\n");
    const shown = (await run(["skill", "get", "review"])).stdout;
    expect(shown).toMatch(/^description\s+How to review a pull request$/m);
    expect(shown).toContain("Read *all* of it.");
    expect((await run(["skill", "list", "-o", "name"])).stdout).toBe("review\n");
    const listed = (await run(["skill", "list"])).stdout.trimEnd().split("\n");
    expect(listed[1]?.split("\t")).toEqual([
      ...["review", expect.stringMatching(/^[0-9a-f]{12}$/), "28 B", "How to review a pull request"],
    ]);

    // Another name, from a pipe; and a second version of the first.
    const piped = await run(["skill", "put", "other", "-f", "-", "--description", "Of a pipe"], body.stdout);
    expect(piped.stdout).toMatch(/^other\tcreated\t/);
    const json = JSON.parse((await run(["skill", "get", "review", "-o", "json"])).stdout) as {
      skill: { etag: string; digest: string };
    };
    const { etag, digest } = json.skill;
    write("SKILL.md", review.replace("all", "every line"));
    expect((await run(["skill", "put", "-f", "SKILL.md", "--if-etag", etag])).stdout).toMatch(/\treplaced\t/);
    expect(await run(["skill", "put", "-f", "SKILL.md", "--if-etag", etag])).toMatchObject({ exitCode: 5 });
    const versions = (await run(["skill", "versions", "review", "-o", "name"])).stdout.trimEnd().split("\n");
    expect([versions.length, versions[1]]).toEqual([2, digest]);
    expect((await run(["skill", "get", "review", "--body", "--digest", digest.slice(0, 12)])).stdout).toBe(
      body.stdout,
    );
    expect(await run(["skill", "delete", "review", "--no-input"])).toMatchObject({ exitCode: 2 });
    expect((await run(["skill", "delete", "review", "--yes"])).stdout).toBe("review\tdeleted\n");
    expect(await run(["skill", "get", "review"])).toMatchObject({ exitCode: 3 });
  });

  test("puts the documents of a directory, and leaves alone what is none", async () => {
    const { run, write } = await tenant("directory");
    write("skills/review/SKILL.md", review);
    write("skills/deploy/SKILL.md", "# Deploy\n");
    write("skills/README.md", "# These are skills\n");
    const dry = await run(["skill", "put", "-f", "skills", "--dry-run"]);
    expect(dry.stdout.replaceAll(/\t[0-9a-f]{12}/g, "")).toBe(
      "deploy\twould be created\nreview\twould be created\n",
    );
    expect((await run(["skill", "list", "-o", "name"])).stdout).toBe("");
    expect(await run(["skill", "put", "-f", "skills"])).toMatchObject({ exitCode: 0 });
    expect((await run(["skill", "list", "-o", "name"])).stdout).toBe("deploy\nreview\n");
    expect(await run(["skill", "put", "name", "-f", "skills"])).toMatchObject({ exitCode: 2 });
  });

  test("the documents that come with Muster are five, each with a description and a text", async () => {
    const { run } = await tenant("library");
    const library = fileURLToPath(new URL("../../docs/skills", import.meta.url));
    expect((await run(["skill", "put", "-f", library])).stderr).toBe("");
    const { stdout } = await run(["export", "skill", "-o", "json"]);
    const documents = JSON.parse(stdout) as { name: string; spec: { description: string; body: string } }[];
    expect(documents.map(({ name }) => name)).toEqual([
      ...["fix-issue", "open-pull-request", "review-pull-request", "work-in-a-job", "write-tests"],
    ]);
    for (const { spec } of documents) {
      expect(spec.description).toMatch(/^How to .*\. Use it .*\.$/);
      expect(spec.body).toMatch(/^# [A-Z]/);
    }
  });

  test.each([
    ["---\nname: [a]\n---\nx", "SKILL.md:2:1", "name must be text"],
    ["---\nname: a\n\tdescription: b\n---\nx", "SKILL.md:3:1", "is indented with a tab"],
    ["---\nname: a\nx", "SKILL.md:1:1", "no line of --- ends the front matter"],
    ["---\n- a\n---\nx", "SKILL.md:2:1", "must be a mapping"],
    ["# No name", "", "does not say the name of its skill"],
    ["---\nname: a\n---\n", "skill.body", "must not be empty"],
    ["---\nname: A b\n---\nx", "skill.name", "1 to 100 characters of a-z 0-9 . _ -"],
  ])("says where a file is wrong: %j", async (text, place, words) => {
    const { run, write } = await tenant(`wrong-${wrong++}`);
    write("SKILL.md", text);
    const refused = await run(["skill", "put", "-f", "SKILL.md"]);
    expect(refused).toMatchObject({ exitCode: 2, stdout: "" });
    expect(refused.stderr).toContain(place);
    expect(refused.stderr).toContain(words);
  });
});

describe("muster apply", () => {
  const whole = `kind: skill
name: inline
spec:
  description: A block
  body: |
    # Inline

    Text.
---
kind: skill
name: beside
spec: { body: !file skills/beside.md }
`;

  test("keeps skills: makes, compares, exports and removes them", async () => {
    const { run, write } = await tenant("applied");
    write("muster.yaml", whole);
    write("skills/beside.md", "# Beside\n");
    const first = await run(["apply", "-f", "muster.yaml"]);
    expect([first.stdout, first.exitCode]).toEqual(["skill\tinline\tcreated\nskill\tbeside\tcreated\n", 0]);
    expect((await run(["apply", "-f", "muster.yaml"])).stderr).toBe("Everything is as it should be.\n");
    expect((await run(["skill", "get", "beside", "--body"])).stdout).toBe("# Beside\n");
    write("skills/beside.md", "# Beside it\n");
    expect((await run(["diff", "-f", "muster.yaml"])).stdout).toBe(
      '~ skill beside\n    body: "# Beside\\n" → "# Beside it\\n"\n',
    );
    const { stdout: exported } = await run(["export", "skill"]);
    expect(exported).toContain("  body: |\n    # Inline\n\n    Text.\n");
    const copy = await tenant("copied");
    copy.write("all.yaml", exported);
    expect(await copy.run(["apply", "-f", "all.yaml"])).toMatchObject({ exitCode: 0 });
    expect((await copy.run(["export", "skill"])).stdout).toBe(exported);
    write("muster.yaml", whole.split("---\n")[0] ?? "");
    expect(await run(["apply", "-f", "muster.yaml", "--prune", "--yes"])).toMatchObject({ exitCode: 0 });
    expect((await run(["skill", "list", "-o", "name"])).stdout).toBe("inline\n");
  });

  test("takes in no file from elsewhere, and says where what is wrong is", async () => {
    const { run, write, cwd } = await tenant("elsewhere");
    write("secret.md", "secret");
    symlinkSync(join(cwd, "secret.md"), join(cwd, "link.md"));
    write("in/there.yaml", "");
    symlinkSync(join(cwd, "secret.md"), join(cwd, "in", "link.md"));
    writeFileSync(join(cwd, "in", "latin.md"), Buffer.from([0x65, 0xe9]));
    const refused = async (body: string) => {
      write("in/muster.yaml", `kind: skill\nname: a\nspec:\n  body: ${body}\n`);
      const { exitCode, stderr } = await run(["apply", "-f", "in/muster.yaml"]);
      expect(exitCode).toBe(2);
      return stderr;
    };
    expect(await refused("!file ../secret.md")).toMatch(
      /in\/muster\.yaml:4:15.* is not in the same directory/s,
    );
    expect(await refused("!file link.md")).toContain("is not in the same directory or below");
    expect(await refused(`!file ${join(cwd, "secret.md")}`)).toContain(
      "is not in the same directory or below",
    );
    expect(await refused("!file absent.md")).toContain("no such file or directory");
    expect(await refused("!file latin.md")).toContain("is not UTF-8 text");
    expect(await refused("!fiel a.md")).toContain("there are only !env NAME and !file PATH");
    expect(await refused("[a]")).toMatch(/in\/muster\.yaml:4:9/);
    expect(await refused('""')).toMatch(/in\/muster\.yaml:4:9.*body: must not be empty/s);
    expect(await refused("x\n  digest: abc")).toMatch(/in\/muster\.yaml:5:3.*unknown field "digest"/s);
    const piped = await run(
      ["apply", "-f", "-"],
      readFileSync(join(cwd, "in/muster.yaml"), "utf8").replace("x\n", "!file a\n"),
    );
    expect(piped.stderr).toContain("!file is for files");
  });

  test("has a schema for editors", () => {
    const schema = JSON.stringify(documentsSchema(resources));
    expect(schema).toContain('"kind":{"const":"skill"}');
  });
});

import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { readError } from "@muster/client/errors";
import { JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { KeyService } from "@muster/client/v1/key_service";
import { TemplateService } from "@muster/client/v1/template_service";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startTestServer, type TestServer } from "../support/coordinator.ts";
import { runCli } from "../tui/run-cli.ts";

const library = fileURLToPath(new URL("../../docs/templates", import.meta.url));
const hash = (bytes: string | Uint8Array) => createHash("sha256").update(bytes).digest("hex");

let muster: TestServer;
let folder: string;
let web: Server;
/** What the web server answers, by path. */
const pages = new Map<string, Uint8Array | string>();
let base: string;

beforeAll(async () => {
  muster = await startTestServer();
  folder = mkdtempSync(join(tmpdir(), "muster-templates-"));
  web = createServer((request, response) => {
    const page = pages.get(request.url ?? "");
    if (request.url === "/away") response.writeHead(302, { location: "http://example.com/x" }).end();
    else if (page === undefined) response.writeHead(404).end();
    else response.end(page);
  });
  await new Promise<void>((resolve) => web.listen(0, "127.0.0.1", resolve));
  base = `http://127.0.0.1:${(web.address() as AddressInfo).port}`;
});
afterAll(async () => {
  web?.closeAllConnections();
  web?.close();
  await muster?.close();
  rmSync(folder, { recursive: true, force: true });
});

const cli = (argv: readonly string[], env: Record<string, string> = {}) =>
  runCli(argv, {
    cwd: folder,
    env: { MUSTER_ADDRESS: muster.server.apiAddress, MUSTER_API_KEY: muster.key, ...env },
  });
const yaml = (name: string, argv: string) =>
  `kind: template\nname: ${name}\nspec:\n  parameters: [{ name: x }]\n  job:\n    kind: shell.run\n    payload: { argv: ${argv} }\n`;
const templates = () => muster.client(TemplateService);
const refused = (call: Promise<unknown>) =>
  call.then(
    () => [],
    (error: unknown) => readError(error)?.detail?.violations.map(({ field }) => field) ?? [String(error)],
  );

describe("S44 templates are pinned, and never executed", () => {
  test("an altered file is refused by its checksum, from a file, a URL and a package", async () => {
    const good = yaml("pinned", '[echo, "{{x}}"]');
    const bad = good.replace("echo", "evil");
    writeFileSync(join(folder, "t.yaml"), good);
    expect(await cli(["template", "install", "t.yaml", "--sha256", hash(good)])).toMatchObject({
      exitCode: 0,
    });
    writeFileSync(join(folder, "t.yaml"), bad);
    const altered = await cli(["template", "install", "t.yaml", "--sha256", hash(good)]);
    expect(altered).toMatchObject({ exitCode: 5, stderr: expect.stringContaining("CHECKSUM_MISMATCH") });
    expect(altered.stderr).toContain(hash(bad));

    pages.set("/t.yaml", bad);
    const url = `${base}/t.yaml`;
    expect(await cli(["template", "install", url, "--sha256", hash(good)])).toMatchObject({ exitCode: 5 });
    const { template } = await templates().getTemplate({ name: "pinned" });
    expect(JSON.stringify(template?.job)).not.toContain("evil");
    expect(template).toMatchObject({ source: "t.yaml", sourceSha256: hash(good) });

    const tarball = pack({ "template.yaml": yaml("packed", '[echo, "{{x}}"]') });
    const manifest = (integrity: string) =>
      JSON.stringify({ version: "1.0.0", dist: { tarball: `${base}/p.tgz`, integrity } });
    pages.set("/p.tgz", tarball);
    pages.set(
      "/@acme%2fp/latest",
      manifest(`sha512-${createHash("sha512").update("other").digest("base64")}`),
    );
    const env = { npm_config_registry: base };
    const forged = await cli(["template", "install", "npm:@acme/p", "--yes"], env);
    expect(forged).toMatchObject({ exitCode: 5, stderr: expect.stringContaining("CHECKSUM_MISMATCH") });
    pages.set(
      "/@acme%2fp/latest",
      manifest(`sha512-${createHash("sha512").update(tarball).digest("base64")}`),
    );
    expect(await cli(["template", "install", "npm:@acme/p", "--sha256", hash(good)], env)).toMatchObject({
      exitCode: 5,
    });
    expect(await cli(["template", "install", "npm:@acme/p", "--sha256", hash(tarball)], env)).toMatchObject({
      exitCode: 0,
    });
    const packed = await templates().getTemplate({ name: "packed" });
    expect(packed.template).toMatchObject({ source: "npm:@acme/p@1.0.0", sourceSha256: hash(tarball) });
  });

  test("what comes from elsewhere without a checksum must be confirmed, by the checksum that it has", async () => {
    const text = yaml("unsure", '[echo, "{{x}}"]');
    pages.set("/unsure.yaml", text);
    const asked = await cli(["template", "install", `${base}/unsure.yaml`, "--no-input"]);
    expect(asked).toMatchObject({ exitCode: 2, stderr: expect.stringContaining(`--sha256 ${hash(text)}`) });
    await expect(templates().getTemplate({ name: "unsure" })).rejects.toThrow(/no such template/);
  });

  test("a package is read, not installed: no script runs, nothing is written", async () => {
    const before = readdirSync(folder);
    const scripts = {
      preinstall: `touch ${join(folder, "ran")}`,
      postinstall: `touch ${join(folder, "ran")}`,
    };
    const tarball = pack({
      "package.json": JSON.stringify({ name: "q", version: "1.0.0", scripts }),
      "templates/a.yaml": yaml("from-q", '[echo, "{{x}}"]'),
      "../../escaped.yaml": "x",
      "index.js": "throw new Error('ran')",
    });
    pages.set("/q.tgz", tarball);
    const integrity = `sha512-${createHash("sha512").update(tarball).digest("base64")}`;
    pages.set(
      "/q/1.0.0",
      JSON.stringify({ version: "1.0.0", dist: { tarball: `${base}/q.tgz`, integrity } }),
    );
    const ran = await cli(["template", "install", "npm:q@1.0.0", "--yes"], { npm_config_registry: base });
    expect(ran).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/^from-q\tcreated/) });
    expect(readdirSync(folder)).toEqual(before);
  });

  test("sources are https, and capped", async () => {
    expect(await cli(["template", "show", "http://example.com/t.yaml"])).toMatchObject({ exitCode: 2 });
    expect(await cli(["template", "show", `${base}/away`])).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining("not an https URL"),
    });
    pages.set("/large.yaml", "x".repeat(600 * 1024));
    expect(await cli(["template", "show", `${base}/large.yaml`])).toMatchObject({ exitCode: 10 });
    pages.set("/bomb.tgz", gzipSync(Buffer.alloc(80 * 1024 * 1024)));
    const integrity = `sha512-${createHash("sha512")
      .update(pages.get("/bomb.tgz") ?? "")
      .digest("base64")}`;
    pages.set(
      "/bomb/latest",
      JSON.stringify({ version: "1.0.0", dist: { tarball: `${base}/bomb.tgz`, integrity } }),
    );
    expect(await cli(["template", "show", "npm:bomb"], { npm_config_registry: base })).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining("64 MiB"),
    });
  });

  test("a value with shell metacharacters stays one argument of the program", async () => {
    const [first = ""] = ["$(touch pwned); `id` && rm -rf ~ | \"'\\"];
    writeFileSync(join(folder, "echo.yaml"), yaml("echo", '[sh, -c, \'printf %s "$1"\', sh, "{{x}}"]'));
    expect(await cli(["template", "create", "-f", "echo.yaml"])).toMatchObject({ exitCode: 0 });
    const ran = await cli(["template", "run", "echo", "-p", `x=${first}`]);
    const { job } = await muster.client(JobService).getJob({ jobId: ran.stdout.trim() });
    const payload = JSON.parse(
      Buffer.from((job?.spec?.payload?.content.value ?? "") as Uint8Array).toString(),
    );
    expect(payload).toEqual({ argv: ["sh", "-c", 'printf %s "$1"', "sh", first] });
    const { template } = await templates().getTemplate({ name: "echo" });
    expect(job?.spec?.labels).toEqual({ template: "echo", "template-digest": template?.digest.slice(0, 16) });
    expect(job?.state).toBe(JobState.READY);
  });

  test.each([
    ['["{{x}}", a]', 0],
    ['[sh, -c, "ls {{x}}"]', 2],
    ['[bash, -lc, "{{x}}"]', 2],
    ['[env, A=1, bash, -c, "{{x}}"]', 4],
    ['[python3, -c, "{{x}}"]', 2],
    ['[/usr/bin/node, -e, "{{x}}"]', 2],
    ['[sh, "{{x}}"]', 1],
    ['[ssh, host, "{{x}}"]', 2],
    ['[awk, "{{x}}", file]', 1],
  ])("a template whose parameter would be run is refused: %s", async (argv, index) => {
    writeFileSync(join(folder, "bad.yaml"), yaml("bad", argv));
    const made = await cli(["template", "create", "-f", "bad.yaml"]);
    expect(made).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining(`template.job.payload.argv[${index}]`),
    });
  });

  test("neither the kind nor what a shell reads from its input is a parameter", async () => {
    const parameters = [{ name: "x" }];
    const put = (job: { [key: string]: string | { [key: string]: string | string[] } }) =>
      refused(templates().putTemplate({ template: { name: "bad", parameters, job } }));
    expect(await put({ kind: "{{x}}" })).toEqual(["template.job.kind"]);
    expect(await put({ kind: "shell.run", payload: { argv: ["sh"], stdin: "{{x}}" } })).toEqual([
      "template.job.payload.stdin",
    ]);
    expect(await put({ kind: "shell.run", payload: { argv: ["cat"], stdin: "{{x}}" } })).toEqual([]);
    await templates().deleteTemplate({ name: "bad" });
  });

  test("a run names the digest that was looked at, and another one is refused", async () => {
    const job = { kind: "nobody", title: "{{x}}" };
    const template = { name: "changing", parameters: [{ name: "x" }], job };
    const { template: first } = await templates().putTemplate({ template });
    const digest = first?.digest ?? "";
    expect((await templates().runTemplate({ name: "changing", digest })).digest).toBe(digest);
    await templates().putTemplate({ template: { ...template, job: { ...job, kind: "other" } } });
    await expect(templates().runTemplate({ name: "changing", digest })).rejects.toThrow(/another digest/);
    await expect(templates().putTemplate({ template, expectedDigest: digest })).rejects.toThrow(
      /another digest/,
    );
  });

  test("text of others in a template reaches a terminal as text alone", async () => {
    const nasty = "\u001b]0;owned\u0007\u202e";
    await expect(
      templates().putTemplate({ template: { name: "n", description: `a${nasty}`, job: { kind: "a" } } }),
    ).rejects.toThrow(/control characters/);
    await templates().putTemplate({
      template: { name: "n", description: "a\u202eb", job: { kind: "a", payload: { text: nasty } } },
    });
    const shown = await cli(["template", "get", "n"]);
    expect(shown.exitCode).toBe(0);
    expect(["\u001b", "\u0007", "\u202e"].filter((one) => shown.stdout.includes(one))).toEqual([]);
  });

  test("the templates that come with Muster are right, and each can be previewed", async () => {
    expect(await cli(["template", "install", library])).toMatchObject({ exitCode: 0 });
    const given: Record<string, string[]> = {
      "archive-directory": ["-p", "directory=/data", "-p", "archive=/b.tgz"],
      "resize-images": ["-p", "from=/a", "-p", "to=/b", "-p", "width=800"],
      "fix-issue": ["-p", "project=acme/web", "-p", "issue=It breaks"],
      "sync-pull-requests": [],
    };
    const names = readdirSync(library).map((file) => file.replace(/\.yaml$/, ""));
    expect(names.sort()).toEqual(Object.keys(given).sort());
    for (const name of names) {
      const shown = await cli(["template", "preview", name, ...(given[name] ?? [])]);
      expect([name, shown.stderr, shown.exitCode]).toEqual([name, "", 0]);
      expect(shown.stdout).not.toContain("{{");
    }
    expect(readFileSync(join(library, "fix-issue.yaml"), "utf8")).toContain("type: text");
  });

  test("another org has none of it", async () => {
    const { OrgService } = await import("@muster/client/v1/org_service");
    const { text: key } = await muster.client(OrgService).createOrg({ name: "theirs" });
    const env = { MUSTER_API_KEY: key };
    expect(await cli(["template", "get", "echo"], env)).toMatchObject({ exitCode: 3 });
    expect(await cli(["template", "run", "echo"], env)).toMatchObject({ exitCode: 3 });
    expect(await cli(["template", "rate", "echo", "5"], env)).toMatchObject({ exitCode: 3 });
    expect(await cli(["template", "list", "-o", "name"], env)).toMatchObject({ exitCode: 0, stdout: "" });
    const { text: reader } = await muster.client(KeyService).createKey({ name: "r", scopes: ["read"] });
    expect(await cli(["template", "run", "echo"], { MUSTER_API_KEY: reader })).toMatchObject({ exitCode: 4 });
    mkdirSync(join(folder, "empty"), { recursive: true });
    expect(await cli(["template", "install", "empty"])).toMatchObject({ exitCode: 2 });
  });
});

/** A gzipped tarball as npm packs one. */
function pack(files: Readonly<Record<string, string>>): Buffer {
  const blocks = Object.entries(files).flatMap(([path, text]) => {
    const header = Buffer.alloc(512);
    header.write(`package/${path}`, 0);
    header.write(Buffer.byteLength(text).toString(8).padStart(11, "0"), 124);
    header.write("0", 156);
    header.write("ustar", 257);
    const body = Buffer.alloc(Math.ceil(Buffer.byteLength(text) / 512) * 512);
    body.write(text);
    return [header, body];
  });
  return gzipSync(Buffer.concat([...blocks, Buffer.alloc(1024)]));
}

import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createMusterClient } from "@muster/client/node";
import { JobService } from "@muster/client/v1/job_service";
import { KeyService } from "@muster/client/v1/key_service";
import { PersonService, Role } from "@muster/client/v1/person_service";
import { WatchService } from "@muster/client/v1/watch_service";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parse } from "yaml";
import { startTestServer, type TestServer } from "../support/coordinator.ts";
import { goodPassword } from "../support/people.ts";
import { runCli, startCli } from "../tui/run-cli.ts";

let started: TestServer;
let home: string;
beforeAll(async () => {
  started = await startTestServer({ registration: "invited", passwordCost: 10 });
  home = mkdtempSync(join(tmpdir(), "muster-people-"));
});
afterAll(async () => {
  rmSync(home, { recursive: true, force: true });
  await started?.close();
});

const run = (argv: string[], more: { readonly stdin?: string } = {}) =>
  runCli(argv, { home, env: { HOME: home }, ...more });

test("a person is invited, registers, works, and logs out", async () => {
  const { server, key } = started;
  const address = server.apiAddress;
  const { code } = await started.client(PersonService).createInvitation({ role: Role.OPERATOR });
  const login = ["login", "-c", "lab", "--address", address, "--email", "ada@example.test"];
  const registered = await run([...login, "--invitation", code, "--password-stdin"], {
    stdin: `${goodPassword}\n`,
  });
  expect(registered).toMatchObject({
    exitCode: 0,
    stderr: expect.stringContaining("person:ada@example.test"),
  });
  const file = join(home, ".config", "muster", "credentials.yaml");
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(readFileSync(file, "utf8")).not.toContain(goodPassword);

  const submitted = await run(["job", "submit", "demo.work", "-o", "json"]);
  expect(submitted).toMatchObject({ exitCode: 0 });
  const who = await run(["whoami", "-o", "json"]);
  expect(JSON.parse(who.stdout)).toMatchObject({ person: { role: "ROLE_OPERATOR" }, org: "default" });
  const refused = await run(["key", "list"]);
  expect(refused.stderr).toContain("scope admin");

  // Two programs at once, when the token is about to end: one refreshes, and both are answered.
  const kept = () => parse(readFileSync(file, "utf8")).keys.lab;
  const before = kept();
  writeFileSync(file, readFileSync(file, "utf8").replace(/"accessEndsMs":\d+/, '"accessEndsMs":0'));
  const both = await Promise.all([run(["whoami"]), run(["whoami"])]);
  expect(both.map(({ exitCode }) => exitCode)).toEqual([0, 0]);
  expect(kept().login.refreshToken).not.toBe(before.login.refreshToken);
  expect(await started.database.admin`select generation from muster.logins`).toEqual([{ generation: 2 }]);

  const people = createMusterClient(PersonService, { address, key });
  const { people: listed } = await people.listPeople({});
  expect(listed).toMatchObject([{ email: "ada@example.test", role: Role.OPERATOR }]);
  const token = kept().key;
  expect(await run(["logout"])).toMatchObject({
    exitCode: 0,
    stderr: expect.stringContaining("1 login ended"),
  });
  const gone = createMusterClient(KeyService, { address, key: token }).whoAmI({});
  await expect(gone).rejects.toMatchObject({ message: expect.stringMatching(/unauthenticated/) });
}, 120_000);

test("a machine without a browser is approved by an admin key, and logged in as a member", async () => {
  const { server, key } = started;
  const email = "bo@example.test";
  await started.client(PersonService).createPerson({ email, role: Role.VIEWER });
  const device = startCli(["login", "-c", "box", "--address", server.apiAddress, "--device"], {
    home,
    env: { HOME: home },
  });
  await device.noted("Code: ");
  const [, code = ""] = /Code: (\S+)/.exec(device.stderr()) ?? [];
  const approved = await runCli(["login", "approve", code, "--person", email], {
    env: { MUSTER_ADDRESS: server.apiAddress, MUSTER_API_KEY: key },
  });
  expect(approved).toMatchObject({ exitCode: 0, stdout: expect.stringContaining(email) });
  expect(await device.exit).toBe(0);
  expect((await run(["whoami", "-c", "box"])).stdout).toContain(`person:${email}`);
}, 120_000);

test("a watch ends within 2 s when its person is disabled by another coordinator; the keys are published", async () => {
  const { server, key } = started;
  const address = server.apiAddress;
  const email = "cy@example.test";
  const people = started.client(PersonService);
  await people.createPerson({ email, role: Role.VIEWER, password: goodPassword });
  const peer = await started.startPeer();
  const { tokens } = await people.login({ email, password: goodPassword });
  const token = tokens?.accessToken ?? "";
  // Signed by one coordinator, believed by the other.
  const messages = createMusterClient(WatchService, { address: peer.apiAddress, key: token })
    .watchJobs({}, { signal: AbortSignal.timeout(60_000) })
    [Symbol.asyncIterator]();
  const seen: (string | undefined)[] = [];
  while (seen.at(-1) !== "snapshotEnd") seen.push((await messages.next()).value?.body.case);
  const submit = createMusterClient(JobService, { address, key: token }).submitJob({ job: { kind: "a.b" } });
  await expect(submit).rejects.toMatchObject({ message: expect.stringMatching(/permission_denied/) });
  await createMusterClient(PersonService, { address, key }).setDisabled({ person: email, disabled: true });
  await expect(messages.next()).rejects.toMatchObject({ message: expect.stringMatching(/unauthenticated/) });
  const jwks = await (await fetch(`${address}/.well-known/jwks.json`)).json();
  expect(jwks).toEqual(await (await fetch(`${peer.apiAddress}/.well-known/jwks.json`)).json());
  expect(jwks).toMatchObject({ keys: [{ kty: "OKP", crv: "Ed25519", alg: "EdDSA" }] });
}, 120_000);

import { X509Certificate } from "node:crypto";
import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { CertificateError, Certificates } from "../../server/rpc/certificates.ts";
import type { EdgeOptions, Turned } from "../../server/rpc/listener.ts";
import type { TlsMaterial } from "../../server/rpc/tls-source.ts";
import { listening } from "../rpc/listening.ts";
import { changingTls, otherCert, otherKey, testCert, testKey } from "../rpc/tls-fixture.ts";
import { testConfig } from "../support/database.ts";
import { tlsPeer } from "./support/tls-peer.ts";
import { workerListening } from "./support/worker-listening.ts";

const opened: { stop(options: { graceMs: number }): Promise<void> }[] = [];
const folders: string[] = [];
afterEach(async () => {
  await Promise.all(opened.splice(0).map((listener) => listener.stop({ graceMs: 0 })));
  await Promise.all(folders.splice(0).map((folder) => rm(folder, { recursive: true })));
});

async function opening(
  open: (options: EdgeOptions) => Promise<(typeof opened)[0] & { port: number }>,
  edge: EdgeOptions,
) {
  const listener = await open(edge);
  opened.push(listener);
  return listener.port;
}

const listeners = {
  "the API port": (edge: EdgeOptions) => listening({ options: edge }),
  "the worker port": (edge: EdgeOptions) => workerListening(edge),
};
const server: TlsMaterial = { cert: testCert, key: testKey };
const known = { cert: testCert, key: testKey };
const stranger = { cert: otherCert, key: otherKey };
const serial = (pem: string) => new X509Certificate(pem).serialNumber;

describe.each(Object.entries(listeners))("S13 mutual TLS: %s", (_name, open) => {
  test("serves who shows a certificate of the authority, and nobody else", async () => {
    const why: Turned[] = [];
    const tls = changingTls({ ...server, ca: testCert });
    const port = await opening(open, { tls, turnedAway: (one) => why.push(one) });
    expect((await tlsPeer(port, known)).isServed).toBe(true);
    expect((await tlsPeer(port, {})).isServed).toBe(false);
    expect((await tlsPeer(port, stranger)).isServed).toBe(false);
    expect(why).toEqual(["handshake", "handshake"]);
  });

  test("where certificates are optional, a wrong one is still turned away", async () => {
    const tls = changingTls({ ...server, ca: testCert, isClientCertRequired: false });
    const port = await opening(open, { tls });
    expect((await tlsPeer(port, {})).isServed).toBe(true);
    expect((await tlsPeer(port, known)).isServed).toBe(true);
    expect((await tlsPeer(port, stranger)).isServed).toBe(false);
  });

  test("a serial number on the list is turned away, also of a connection that is open", async () => {
    const tls = changingTls({ ...server, ca: testCert });
    const port = await opening(open, { tls });
    const early = await tlsPeer(port, known);
    expect(early.isServed).toBe(true);
    tls.change({ ...tls.current, deniedSerials: new Set([serial(testCert).replace(/^0+/, "")]) });
    await early.closed;
    expect((await tlsPeer(port, known)).isServed).toBe(false);
  });

  test("a new certificate is shown to new connections, and the old ones live on", async () => {
    const tls = changingTls(server);
    const port = await opening(open, { tls });
    const early = await tlsPeer(port, {});
    expect(early.serverSerial).toBe(serial(testCert));
    tls.change({ cert: otherCert, key: otherKey });
    expect((await tlsPeer(port, {})).serverSerial).toBe(serial(otherCert));
    expect(early.socket.destroyed).toBe(false);
    early.socket.destroy();
  });
});

describe("S13 mutual TLS: the files", () => {
  const log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

  async function files() {
    const folder = await mkdtemp(join(tmpdir(), "muster-tls-"));
    folders.push(folder);
    const path = (name: string) => join(folder, name);
    // As a tool that renews certificates writes them: another file in its place.
    const put = async (name: string, text: string) => {
      await writeFile(path(`${name}.new`), text);
      await rename(path(`${name}.new`), path(name));
    };
    await put("cert", testCert);
    await put("key", testKey);
    await put("ca", testCert);
    await put("denied", "# lost laptop\nserial=0A:ff\n");
    const config = {
      ...testConfig(),
      tlsCert: path("cert"),
      tlsKey: path("key"),
      tlsCa: path("ca"),
      tlsDenied: path("denied"),
    };
    return { config, put };
  }

  test("are read again when they change, once they fit each other", async () => {
    const { config, put } = await files();
    const certificates = Certificates.open(config, log, 10);
    if (certificates === undefined) throw new Error("there is TLS");
    expect([...(certificates.current.deniedSerials ?? [])]).toEqual(["AFF"]);
    const changed = new Promise<TlsMaterial>((resolve) => certificates.onChange(resolve));
    await put("cert", otherCert);
    expect(certificates.reload()).toBe(false);
    expect(String(certificates.current.cert)).toBe(testCert);
    await put("key", otherKey);
    expect(String((await changed).cert)).toBe(otherCert);
    certificates.stop();
  });

  test("that cannot be used stop the start with a suggestion", async () => {
    const { config, put } = await files();
    await put("denied", "not a number\n");
    expect(() => Certificates.open(config, log)).toThrow(CertificateError);
    await put("denied", "");
    await put("key", otherKey);
    expect(() => Certificates.open(config, log)).toThrow("do not belong together");
  });
});

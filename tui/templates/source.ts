import { createHash } from "node:crypto";
import { readdirSync, statSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { CliError, usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { systemReason } from "../input/files.ts";
import { quote } from "../input/values.ts";
import type { Surroundings } from "../surroundings.ts";
import { readTarball } from "./tarball.ts";

/** What a source gave: text alone. */
export interface Fetched {
  /** For the record: a URL, `npm:name@1.2.3`, or the path. */
  readonly source: string;
  /** SHA-256, in hex, of the bytes that were fetched; of a directory of its one file, else empty. */
  readonly sha256: string;
  readonly files: readonly { readonly name: string; readonly text: string }[];
  /** It came from elsewhere than this machine. */
  readonly isRemote: boolean;
}

const maxFileBytes = 512 * 1024;
const maxPackageBytes = 8 * 1024 * 1024;
const timeoutMs = 30_000;
const maxRedirects = 3;

/**
 * Fetches templates: from a file or a directory, by https, or from an npm package (`npm:name` or `npm:name@version`),
 * whose tarball is read in memory. Nothing of it is executed or written, and no install script runs. Throws a CliError
 * that says what is wrong; CHECKSUM_MISMATCH when the bytes are not those of `sha256`.
 */
export async function fetchTemplates(
  source: string,
  { sha256, surroundings }: { readonly sha256: string | undefined; readonly surroundings: Surroundings },
): Promise<Fetched> {
  const fetched = await fetchFrom(source, surroundings);
  if (sha256 === undefined) return fetched;
  const wanted = sha256.toLowerCase().replace(/^sha256:/, "");
  if (!/^[0-9a-f]{64}$/.test(wanted)) {
    throw usageError(
      "--sha256 is not a checksum",
      "It has 64 characters of 0-9 a-f, as sha256sum prints it.",
    );
  }
  if (fetched.sha256 === "") {
    throw usageError(`${source} has several files, and no checksum of its own`, "Install one file of it.");
  }
  if (fetched.sha256 === wanted) return fetched;
  throw new CliError(`${source} is not what --sha256 names: nothing was installed`, {
    reason: "CHECKSUM_MISMATCH",
    exitCode: exitCodes.conflict,
    suggestion: "It was changed since, or is another one: look at it with `muster template show`.",
    violations: [
      { field: "expected", message: wanted },
      { field: "found", message: fetched.sha256 },
    ],
  });
}

function fetchFrom(source: string, surroundings: Surroundings): Promise<Fetched> {
  if (source.startsWith("npm:")) return fetchPackage(source.slice(4), surroundings);
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(source)) return fetchUrl(source, surroundings);
  return readLocal(source, surroundings);
}

async function readLocal(source: string, { cwd }: Surroundings): Promise<Fetched> {
  try {
    const path = resolve(cwd, source);
    const isDirectory = statSync(path).isDirectory();
    const names = isDirectory ? readdirSync(path).filter(isYaml).sort() : [""];
    if (names.length === 0) throw usageError(`${source} has no *.yaml files`);
    const files = await Promise.all(
      names.map(async (name) => {
        const bytes = await readFile(join(path, name));
        if (bytes.length > maxFileBytes) throw tooLarge(join(source, name), maxFileBytes);
        return { name: join(source, name), bytes };
      }),
    );
    const [first] = files;
    const sha256 = first !== undefined && files.length === 1 ? hashOf(first.bytes) : "";
    const texts = files.map(({ name, bytes }) => ({ name, text: bytes.toString("utf8") }));
    return { source, sha256, files: texts, isRemote: false };
  } catch (cause) {
    if (cause instanceof CliError) throw cause;
    throw usageError(
      `cannot read ${source}: ${systemReason(cause)}`,
      "Give a file, a directory, an https URL, or npm:PACKAGE.",
    );
  }
}

async function fetchUrl(source: string, surroundings: Surroundings): Promise<Fetched> {
  const bytes = await download(source, maxFileBytes, surroundings);
  const files = [{ name: source, text: bytes.toString("utf8") }];
  return { source, sha256: hashOf(bytes), files, isRemote: true };
}

async function fetchPackage(asked: string, surroundings: Surroundings): Promise<Fetched> {
  const [, name = "", version = "latest"] =
    /^((?:@[a-z0-9._-]+\/)?[a-z0-9._-]+)(?:@([a-zA-Z0-9._+-]+))?$/.exec(asked) ?? [];
  if (name === "") throw usageError(`${quote(asked)} is not a package`, "Write npm:name, or npm:name@1.2.3.");
  const registry = (surroundings.env["npm_config_registry"] ?? "https://registry.npmjs.org").replace(
    /\/$/,
    "",
  );
  const url = `${registry}/${name.replace("/", "%2f")}/${version}`;
  const about = manifestOf((await download(url, maxPackageBytes, surroundings)).toString("utf8"), asked);
  const bytes = await download(about.tarball, maxPackageBytes, surroundings);
  checkIntegrity(bytes, about.integrity, asked);
  const packed = readTarball(bytes, asked, { isWanted: isOfPackage, maxFileBytes });
  if (packed.length === 0)
    throw usageError(`the package ${asked} has neither template.yaml nor templates/*.yaml`);
  const files = packed.map(({ path, text }) => ({ name: `npm:${name}/${path}`, text }));
  return { source: `npm:${name}@${about.version}`, sha256: hashOf(bytes), files, isRemote: true };
}

function manifestOf(text: string, asked: string) {
  const unusable = usageError(`the registry's answer about ${asked} is not that of a package`);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw unusable;
  }
  const manifest = asRecord(json);
  const dist = asRecord(manifest["dist"]);
  const { version } = manifest;
  const { tarball, integrity } = dist;
  if (typeof tarball !== "string" || typeof version !== "string") throw unusable;
  return { version, tarball, integrity: typeof integrity === "string" ? integrity : "" };
}

function checkIntegrity(bytes: Uint8Array, integrity: string, asked: string): void {
  const [, algorithm = "", hash = ""] = /\b(sha512|sha384|sha256)-([A-Za-z0-9+/=]+)/.exec(integrity) ?? [];
  if (hash === "") throw usageError(`the registry names no checksum of ${asked}`);
  if (createHash(algorithm).update(bytes).digest("base64") === hash) return;
  throw new CliError(`the package ${asked} is not what its registry says that it is`, {
    reason: "CHECKSUM_MISMATCH",
    exitCode: exitCodes.conflict,
    suggestion: "Do not use it: it was changed on its way, or at its registry.",
  });
}

// By https alone; plain http reaches no further than this machine.
async function download(source: string, maxBytes: number, { signal }: Surroundings): Promise<Buffer> {
  let url = checkedUrl(source);
  for (let redirects = 0; ; redirects++) {
    const response = await get(url, signal);
    const location = response.headers.get("location");
    if (response.status >= 300 && response.status < 400 && location !== null) {
      await response.body?.cancel();
      if (redirects === maxRedirects) throw usageError(`${source} redirects more than ${maxRedirects} times`);
      url = checkedUrl(new URL(location, url).href);
      continue;
    }
    if (!response.ok) throw usageError(`${url.href} answers with ${response.status}`, "Check the address.");
    const chunks: Uint8Array[] = [];
    let size = 0;
    for await (const chunk of response.body ?? []) {
      size += chunk.byteLength;
      if (size > maxBytes) throw tooLarge(source, maxBytes);
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  }
}

async function get(url: URL, signal: AbortSignal): Promise<Response> {
  try {
    return await fetch(url, {
      redirect: "manual",
      signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
    });
  } catch (cause) {
    signal.throwIfAborted();
    const inner =
      cause instanceof Error && cause.cause instanceof Error ? cause.cause.message : String(cause);
    throw new CliError(`cannot fetch ${url.href}: ${inner}`, {
      reason: "UNREACHABLE",
      exitCode: exitCodes.unreachable,
    });
  }
}

function checkedUrl(text: string): URL {
  const url = URL.parse(text);
  const isLocal = url?.protocol === "http:" && ["127.0.0.1", "[::1]", "localhost"].includes(url.hostname);
  if (url !== null && (url.protocol === "https:" || isLocal)) return url;
  throw usageError(
    `${quote(text)} is not an https URL`,
    "Fetch it yourself, look at it, and install the file.",
  );
}

function isYaml(name: string): boolean {
  return /\.ya?ml$/.test(name);
}

function isOfPackage(path: string): boolean {
  return /^(template|templates\/[^/]+)\.ya?ml$/.test(path);
}

function hashOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function tooLarge(source: string, maxBytes: number): CliError {
  return new CliError(`${source} is larger than ${maxBytes} bytes`, {
    reason: "TOO_LARGE",
    exitCode: exitCodes.limit,
  });
}

function asRecord(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? { ...value } : {};
}

import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { createSecureContext } from "node:tls";
import type { Config } from "../config.ts";
import type { Log } from "../domain/context.ts";
import type { TlsMaterial, TlsSource } from "./tls-source.ts";

/** What may be wrong with the files of TLS: the coordinator does not start with such, and does not turn to such. */
export class CertificateError extends Error {
  override readonly name = "CertificateError";
  readonly code = "CERTIFICATE_UNUSABLE";
  readonly suggestion =
    "Check --tls-cert, --tls-key, --tls-ca and --tls-denied: each is a file of PEM or of lines.";
}

/** How often the files are looked at. */
const pollMs = 1_000;

/**
 * The certificates of the listeners: read at start, and again when a file has changed or `reload` is called. Files
 * that do not fit each other leave the old ones in use, with a warning: a certificate is seldom written together
 * with its key. `stop` ends the looking.
 */
export class Certificates implements TlsSource {
  readonly #paths: TlsPaths;
  readonly #log: Log;
  readonly #listeners = new Set<(material: TlsMaterial) => void>();
  readonly #timer: NodeJS.Timeout;
  #current: TlsMaterial;
  #seen: string;

  private constructor(paths: TlsPaths, log: Log, everyMs: number) {
    this.#paths = paths;
    this.#log = log;
    this.#seen = marksOf(paths);
    this.#current = readMaterial(paths);
    this.#timer = setInterval(() => this.#look(), everyMs).unref();
  }

  /** Those of a configuration; undefined without TLS. Throws CertificateError. */
  static open(config: Config, log: Log, everyMs: number = pollMs): Certificates | undefined {
    const { tlsCert: cert, tlsKey: key, tlsCa: ca, tlsDenied: denied, tlsClientCert } = config;
    if (cert === undefined || key === undefined) return undefined;
    const isClientCertRequired = tlsClientCert === "required";
    return new Certificates({ cert, key, ca, denied, isClientCertRequired }, log, everyMs);
  }

  get current(): TlsMaterial {
    return this.#current;
  }

  /** Calls `listener` at each change, until the answer is called. */
  onChange(listener: (material: TlsMaterial) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Reads the files again, changed or not; tells whether they could be used. */
  reload(): boolean {
    try {
      this.#seen = marksOf(this.#paths);
      this.#current = readMaterial(this.#paths);
    } catch (error) {
      this.#log.warn({ err: error }, "the certificates cannot be used: the old ones stay");
      return false;
    }
    for (const listener of this.#listeners) listener(this.#current);
    this.#log.info({}, "the certificates were read again");
    return true;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    try {
      if (marksOf(this.#paths) !== this.#seen) this.reload();
    } catch {
      // A file that is being replaced is not there for a moment.
    }
  }
}

interface TlsPaths {
  readonly cert: string;
  readonly key: string;
  readonly ca: string | undefined;
  readonly denied: string | undefined;
  readonly isClientCertRequired: boolean;
}

function filesOf({ cert, key, ca, denied }: TlsPaths): string[] {
  return [cert, key, ca, denied].filter((path) => path !== undefined);
}

// The inode too: a file that is replaced by another of the same age is another.
function marksOf(paths: TlsPaths): string {
  const marks = filesOf(paths).map((path) => {
    const { ino, size, mtimeMs } = statSync(path);
    return `${ino}:${size}:${mtimeMs}`;
  });
  return marks.join(" ");
}

function readMaterial(paths: TlsPaths): TlsMaterial {
  try {
    const [cert, key] = [readFileSync(paths.cert), readFileSync(paths.key)];
    const ca = paths.ca === undefined ? undefined : readFileSync(paths.ca);
    if (!new X509Certificate(cert).checkPrivateKey(createPrivateKey(key))) {
      throw new CertificateError("The certificate and the key do not belong together");
    }
    createSecureContext({ cert, key, ca });
    const deniedSerials = paths.denied === undefined ? [] : serialsOf(readFileSync(paths.denied, "utf8"));
    return {
      cert,
      key,
      ...(ca === undefined ? {} : { ca }),
      isClientCertRequired: paths.isClientCertRequired,
      deniedSerials: new Set(deniedSerials),
    };
  } catch (cause) {
    if (cause instanceof CertificateError) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new CertificateError(`The files of TLS cannot be used: ${why}`, { cause });
  }
}

/** A serial number a line as openssl prints it, with or without colons; `#` begins a comment. */
function serialsOf(text: string): string[] {
  const lines = text.split("\n").map((line) => line.replace(/#.*$/, "").trim());
  return lines
    .filter((line) => line !== "")
    .map((line) => {
      const serial = line.replace(/^(serial=|0x)/i, "").replaceAll(":", "");
      if (!/^[0-9a-f]{1,64}$/i.test(serial)) {
        throw new CertificateError(
          `The list of denied certificates has a line that is no serial number: ${line.slice(0, 80)}`,
        );
      }
      return normalSerial(serial);
    });
}

function normalSerial(serial: string): string {
  return serial.toUpperCase().replace(/^0+(?=.)/, "");
}

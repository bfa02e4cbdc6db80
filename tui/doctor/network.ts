import { lookup } from "node:dns/promises";
import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { connect as connectTcp } from "node:net";
import { connect as connectTls, type PeerCertificate } from "node:tls";
import type { Context } from "../context.ts";
import { type Finding, fine, wanting } from "./checks.ts";

/** How long a step may take before it counts as failed, in milliseconds. */
const patienceMs = 5_000;

/** Host and port of an address. */
export function hostAndPort(address: string): { readonly host: string; readonly port: number } {
  const { hostname, port, protocol } = new URL(address);
  const host = hostname.replace(/^\[(.*)\]$/, "$1");
  return { host, port: port === "" ? (protocol === "https:" ? 443 : 80) : Number(port) };
}

/** Whether the host has an address. */
export async function checkDns(host: string): Promise<Finding> {
  try {
    const found = await lookup(host, { all: true });
    return fine(`${host} is ${found.map(({ address }) => address).join(", ")}`);
  } catch (error) {
    return wanting(
      "fail",
      `${host} has no address: ${reasonOf(error)}`,
      "Check the spelling of the host, and the name servers of this machine.",
    );
  }
}

/** Whether something listens. */
export async function checkTcp(host: string, port: number, signal: AbortSignal): Promise<Finding> {
  const socket = connectTcp({ host, port });
  try {
    await once(socket, "connect", { signal: within(signal) });
    return fine(`connected to ${host}:${port}`);
  } catch (error) {
    const isRefused = reasonOf(error).includes("ECONNREFUSED");
    return wanting(
      "fail",
      `no connection to ${host}:${port}: ${reasonOf(error)}`,
      isRefused
        ? "Start the coordinator there, or name another address with --address or a context."
        : "Look for a firewall or a wrong port between here and there.",
    );
  } finally {
    socket.destroy();
  }
}

/** Whether the certificate is good, and for how long. */
export async function checkTls(
  host: string,
  port: number,
  tls: Context["tls"],
  signal: AbortSignal,
  nowMs: number,
): Promise<Finding> {
  const socket = connectTls({
    host,
    port,
    servername: host,
    ALPNProtocols: ["h2", "http/1.1"],
    ...(tls.ca === undefined ? {} : { ca: tls.ca }),
    ...tls.certificate,
  });
  try {
    await once(socket, "secureConnect", { signal: within(signal) });
    return certificateFinding(
      socket.getPeerCertificate(),
      `${socket.getProtocol()}, ${socket.alpnProtocol || "no ALPN"}`,
      nowMs,
    );
  } catch (error) {
    return wanting(
      "fail",
      `no TLS with ${host}:${port}: ${reasonOf(error)}`,
      "Give the authority that signed the certificate with --tls-ca, or correct the certificate.",
    );
  } finally {
    socket.destroy();
  }
}

/** Whether HTTP/2 gets through: workers and gRPC clients need it. */
export async function checkHttp2(
  address: string,
  tls: Context["tls"],
  signal: AbortSignal,
): Promise<Finding> {
  const session = connectHttp2(address, {
    ...(tls.ca === undefined ? {} : { ca: tls.ca }),
    ...tls.certificate,
  });
  try {
    // Settings of the other side are the first proof that it speaks HTTP/2.
    await once(session, "remoteSettings", { signal: within(signal) });
    return fine("HTTP/2 passes");
  } catch (error) {
    return wanting(
      "warn",
      `HTTP/2 does not pass: ${reasonOf(error)}`,
      "This program works over HTTP/1.1; workers fall back to polling, and gRPC clients cannot connect. Let the proxy in between speak HTTP/2 (h2c) to the coordinator.",
    );
  } finally {
    session.on("error", () => {});
    session.destroy();
  }
}

function certificateFinding(certificate: PeerCertificate, spoken: string, nowMs: number): Finding {
  const days = Math.floor((Date.parse(certificate.valid_to) - nowMs) / 86_400_000);
  const detail = `${spoken}; the certificate is valid until ${certificate.valid_to} (${days} days)`;
  return days < 14 ? wanting("warn", detail, "Renew the certificate.") : fine(detail);
}

function within(signal: AbortSignal): AbortSignal {
  return AbortSignal.any([signal, AbortSignal.timeout(patienceMs)]);
}

/** What the system says of a failed connection. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === "AbortError") return `no answer within ${patienceMs / 1000}s`;
  const code = "code" in error ? String(error.code) : "";
  return error.message === "" ? code || error.name : error.message;
}

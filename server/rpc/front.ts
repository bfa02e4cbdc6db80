import { createServer as createNetServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer, type TLSSocket, type Server as TlsServer } from "node:tls";
import type { Addresses } from "./addresses.ts";
import type { TlsMaterial, TlsSource } from "./tls-source.ts";

/** What a connection speaks, as far as it is known: without TLS, whoever takes it looks at its first bytes. */
export type Speech = "h2" | "http/1.1" | "unknown";

/** How connections are let in. */
export interface FrontOptions {
  readonly tls: TlsSource | undefined;
  /** Protocols that TLS may settle on, the first preferred. */
  readonly protocols: readonly ("h2" | "http/1.1")[];
  /** Time for a TLS handshake. */
  readonly handshakeMs: number;
  /** What is known of those who connect. */
  readonly addresses: Addresses;
  /** Called with every connection before anything is read of it. */
  readonly opened: (socket: Socket) => void;
  /** Called when a connection is turned away. */
  readonly refused: (reason: "address-limit" | "shut-out" | "handshake" | "certificate") => void;
  /** Takes over a connection, whose handshake is done and whose certificate was accepted. */
  readonly accept: (socket: Socket, speech: Speech) => void;
}

/**
 * What stands before the servers of a listener, which never listen themselves: lets in as many connections of an address
 * as it may have, shakes hands with the certificate of the moment, and turns away certificates that are denied, also those of
 * connections that are open when their number is put on the list.
 */
export function createFront(options: FrontOptions): Server {
  const { tls, addresses, opened, accept, refused } = options;
  const secure = tls === undefined ? undefined : createSecureFront(tls, options);
  // Half-open as servers of HTTP/1.1 are: a client may end its side after the request.
  const server = createNetServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    // Outlives every hand-over: between two owners an error would have no listener, and end the process.
    socket.on("error", () => socket.destroy());
    const admission = addresses.admit(socket);
    if (admission !== "admitted") {
      refused(admission);
      // Leaves nothing behind that would wait for the other side.
      socket.resetAndDestroy();
      return;
    }
    opened(socket);
    if (secure === undefined) accept(socket, "unknown");
    else secure.server.emit("connection", socket);
  });
  server.once("close", () => secure?.stop());
  return server;
}

/** Whether an address is of this machine. */
export function isOwnAddress(address: string): boolean {
  return address === "::1" || /^(::ffff:)?127\./i.test(address);
}

function createSecureFront(
  tls: TlsSource,
  options: FrontOptions,
): { readonly server: TlsServer; readonly stop: () => void } {
  const shown = new Set<TLSSocket>();
  let current = tls.current;
  const server = createTlsServer({
    ...contextOf(current),
    ALPNProtocols: [...options.protocols],
    handshakeTimeout: options.handshakeMs,
    requestCert: current.ca !== undefined,
    rejectUnauthorized: current.ca !== undefined && current.isClientCertRequired !== false,
  });
  server.on("tlsClientError", (_error, socket) => {
    options.refused("handshake");
    socket.destroy();
  });
  server.on("secureConnection", (socket) => {
    socket.on("error", () => socket.destroy());
    const serial = serialOf(socket);
    // Whoever shows none was let in by the handshake; a wrong one is refused also where none is asked for.
    const isWrong = serial !== undefined && !socket.authorized;
    if (isWrong || isDenied(serial, current)) {
      options.refused("certificate");
      socket.destroy();
      return;
    }
    if (serial !== undefined) {
      shown.add(socket);
      socket.once("close", () => shown.delete(socket));
    }
    options.accept(socket, speechOf(socket, options.protocols));
  });
  const stopFollowing = tls.onChange((material) => {
    current = material;
    server.setSecureContext(contextOf(material));
    for (const socket of shown) {
      if (isDenied(serialOf(socket), material)) socket.destroy();
    }
  });
  return { server, stop: stopFollowing };
}

function contextOf({ cert, key, ca }: TlsMaterial) {
  return { cert, key, ...(ca === undefined ? {} : { ca }) };
}

function serialOf(socket: TLSSocket): string | undefined {
  const serial = socket.getPeerX509Certificate()?.serialNumber;
  return serial?.toUpperCase().replace(/^0+(?=.)/, "");
}

function isDenied(serial: string | undefined, { deniedSerials }: TlsMaterial): boolean {
  return serial !== undefined && deniedSerials?.has(serial) === true;
}

// A client without ALPN speaks what all clients speak, where that is served.
function speechOf({ alpnProtocol }: TLSSocket, protocols: FrontOptions["protocols"]): Speech {
  if (alpnProtocol === "h2") return "h2";
  return protocols.includes("http/1.1") ? "http/1.1" : "h2";
}

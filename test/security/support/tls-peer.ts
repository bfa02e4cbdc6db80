import { type ConnectionOptions, connect, type TLSSocket } from "node:tls";

/** How a server took a connection: whether it spoke HTTP/2 to it, and with which certificate. */
export interface TlsPeer {
  readonly isServed: boolean;
  /** Serial number of the server's certificate. */
  readonly serverSerial: string | undefined;
  readonly socket: TLSSocket;
  readonly closed: Promise<void>;
}

/** Shakes hands, sends the preface of HTTP/2, and waits for SETTINGS or the end. */
export function tlsPeer(port: number, options: ConnectionOptions): Promise<TlsPeer> {
  return new Promise((resolve) => {
    const socket = connect({
      port,
      host: "127.0.0.1",
      ALPNProtocols: ["h2"],
      rejectUnauthorized: false,
      ...options,
    });
    const closed = new Promise<void>((resolveClosed) => socket.once("close", () => resolveClosed()));
    let serverSerial: string | undefined;
    socket.on("error", () => {});
    socket.once("secureConnect", () => {
      serverSerial = socket.getPeerX509Certificate()?.serialNumber;
      socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
      socket.write(Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]));
    });
    socket.once("data", () => resolve({ isServed: true, serverSerial, socket, closed }));
    void closed.then(() => resolve({ isServed: false, serverSerial, socket, closed }));
  });
}

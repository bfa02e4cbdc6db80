import type { ServerHttp2Session } from "node:http2";
import type { Socket } from "node:net";
import type { HttpResponse } from "./http.ts";

/** The connections of a listener, so that it can stop: node's servers wait for idle ones without an end. */
export class Connections {
  readonly #sockets = new Set<Socket>();
  readonly #sessions = new Set<ServerHttp2Session>();
  /** Requests under way on each connection of HTTP/1.1. */
  readonly #http1 = new Map<Socket, number>();
  #isDraining = false;

  /** Any connection, before it is known what it speaks. */
  add(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.once("close", () => this.#sockets.delete(socket));
  }

  /** A connection of HTTP/1.1. */
  addHttp1(socket: Socket): void {
    this.#http1.set(socket, 0);
    socket.once("close", () => this.#http1.delete(socket));
    if (this.#isDraining) socket.destroy();
  }

  /** A connection of HTTP/2. Its errors end it and nothing else. */
  addSession(session: ServerHttp2Session): void {
    this.#sessions.add(session);
    session.on("error", () => session.destroy());
    session.once("close", () => this.#sessions.delete(session));
    if (this.#isDraining) session.close();
  }

  /** A request of HTTP/1.1 is under way until its response is closed. */
  busy(socket: Socket, response: HttpResponse): void {
    if (this.#isDraining) response.setHeader("connection", "close");
    this.#http1.set(socket, (this.#http1.get(socket) ?? 0) + 1);
    response.once("close", () => {
      const left = (this.#http1.get(socket) ?? 1) - 1;
      if (!this.#http1.has(socket)) return;
      this.#http1.set(socket, left);
      if (this.#isDraining && left === 0) socket.end();
    });
  }

  /** Closes what is idle, now and as it becomes so; HTTP/2 clients are told to go elsewhere. */
  drain(): void {
    this.#isDraining = true;
    for (const session of this.#sessions) session.close();
    for (const [socket, requests] of this.#http1) {
      if (requests === 0) socket.destroy();
    }
  }

  /** Closes everything. */
  destroy(): void {
    this.#isDraining = true;
    for (const session of this.#sessions) session.destroy();
    for (const socket of this.#sockets) socket.destroy();
  }
}

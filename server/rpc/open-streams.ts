import type { Interceptor } from "@connectrpc/connect";

/** Counts the streams that are served. */
export class OpenStreams {
  #count = 0;

  /** How many there are now. */
  get count(): number {
    return this.#count;
  }

  /** Counts a server-streaming call of our own services from its first message to its end. */
  readonly interceptor: Interceptor = (next) => async (request) => {
    const isWatch =
      request.method.methodKind === "server_streaming" && request.service.typeName.startsWith("muster.");
    const response = await next(request);
    if (!isWatch || !response.stream) return response;
    return { ...response, message: this.#counted(response.message) };
  };

  async *#counted<Message>(messages: AsyncIterable<Message>): AsyncGenerator<Message> {
    this.#count++;
    try {
      yield* messages;
    } finally {
      this.#count--;
    }
  }
}

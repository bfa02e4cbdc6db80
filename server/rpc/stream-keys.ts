import type { Interceptor } from "@connectrpc/connect";
import { DomainError } from "../domain/errors.ts";
import { type Authenticate, bearerToken, callerKey } from "./auth.ts";
import { requestIdKey } from "./request-id.ts";

/**
 * Ends a server stream of ours with the error of its key before the first message after the key was revoked, ran out,
 * or lost its worker: the gate looks at a key when a call begins, and a watch may last for days. A silent stream says
 * that it lives every 15 s, so it ends by then. A key that cannot be looked up now stays believed.
 */
export function watchKeys(authenticate: Authenticate): Interceptor {
  return (next) => async (request) => {
    const response = await next(request);
    const isStream = request.method.methodKind === "server_streaming" && response.stream;
    if (!isStream || request.contextValues.get(callerKey) === undefined) return response;
    const token = bearerToken(request.header.get("authorization"));
    const requestId = request.contextValues.get(requestIdKey);
    const check = async (): Promise<void> => {
      try {
        await authenticate(token, requestId);
      } catch (error) {
        if (error instanceof DomainError) throw error;
      }
    };
    return { ...response, message: checked(response.message, check) };
  };
}

async function* checked<Message>(
  messages: AsyncIterable<Message>,
  check: () => Promise<void>,
): AsyncGenerator<Message> {
  for await (const message of messages) {
    await check();
    yield message;
  }
}

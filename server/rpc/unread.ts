/** How long a caller may leave a part of a response unread before it is cut off. */
export const unreadMs = 30_000;

/**
 * Passes parts on, and watches whoever takes them: one that does not come back for the next part within the time
 * has stopped reading. What it watches is pulled from the store as fast as it reads, so until then it costs one
 * page of memory, and nobody else waits for it. Then its source is ended here: the one that takes the parts may
 * wait for ever for a connection that is gone.
 */
export function watchUnread<T>(
  parts: AsyncIterable<T>,
  { maxMs, cutOff }: { readonly maxMs: number; readonly cutOff: () => void },
): AsyncIterable<T> {
  return {
    [Symbol.asyncIterator]() {
      const source = parts[Symbol.asyncIterator]();
      let timer: NodeJS.Timeout | undefined;
      const end = () => {
        cutOff();
        void source.return?.().catch(() => {});
      };
      return {
        async next() {
          clearTimeout(timer);
          const part = await source.next();
          if (part.done !== true) timer = setTimeout(end, maxMs);
          return part;
        },
        async return() {
          clearTimeout(timer);
          await source.return?.();
          return { done: true, value: undefined };
        },
      };
    },
  };
}

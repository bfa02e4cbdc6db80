import type { Log } from "../domain/context.ts";

/**
 * Tries a step until it says that it is done, or the link has ended: what the
 * database cannot take now is taken when it is back. A worker sends a thing
 * once a link; over its next link it sends again what has no answer.
 */
export async function untilDone(
  link: { readonly isEnded: boolean },
  log: Log,
  step: () => Promise<boolean>,
): Promise<void> {
  for (let waitMs = 100; !link.isEnded; waitMs = Math.min(2 * waitMs, 2_000)) {
    try {
      if (await step()) return;
    } catch (error) {
      log.warn({ err: error, waitMs }, "a link's step failed; it is tried again");
    }
    await new Promise((resolve) => setTimeout(resolve, waitMs));
  }
}

import type { Coordinator } from "../domain/context.ts";
import { readOffered, wireBytes } from "../domain/parent-results.ts";
import type { Grant } from "./link.ts";

/** Parents' results that are offered to one worker at a time at most, in bytes: more would hold up its link. */
const workerBytes = 1024 * 1024;

/**
 * Offers grants: at once those of jobs that depend on no others, and the rest with what their parents left. Never
 * rejects, as far as `offer` does not throw.
 */
export async function offerWithParents(
  c: Pick<Coordinator, "db" | "log">,
  orgId: string,
  grants: readonly Grant[],
  offer: (grants: readonly Grant[]) => void,
): Promise<void> {
  const children = grants.filter(({ parents }) => parents.length > 0);
  if (children.length === 0) return offer(grants);
  offer(grants.filter(({ parents }) => parents.length === 0));
  offer(await withParentResults(c, orgId, children));
}

// Where it is little, a handler has it at once. Who gets nothing with the offer asks for it.
async function withParentResults(
  { db, log }: Pick<Coordinator, "db" | "log">,
  orgId: string,
  grants: readonly Grant[],
): Promise<Grant[]> {
  try {
    const children = grants.map(({ fence, parents }) => ({ jobId: fence.jobId, parents }));
    const offered = await readOffered(db.hot, orgId, children);
    const left = new Map<string, number>();
    return grants.map((grant) => {
      const { jobId, workerId } = grant.fence;
      const parentResults = offered.get(jobId) ?? [];
      const bytes = wireBytes(parentResults);
      const free = left.get(workerId) ?? workerBytes;
      if (bytes > free) return grant;
      left.set(workerId, free - bytes);
      return { ...grant, parentResults };
    });
  } catch (error) {
    log.warn({ err: error, orgId }, "the results of parents were not offered; their workers ask for them");
    return [...grants];
  }
}

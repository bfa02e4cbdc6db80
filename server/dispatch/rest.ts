import type { Coordinator } from "../domain/context.ts";
import { readOffered, wireBytes } from "../domain/parent-results.ts";
import { documentsOf } from "../domain/skill-documents.ts";
import type { Grant } from "./link.ts";

type RestContext = Pick<Coordinator, "db" | "log" | "documents">;

/** Parents' results that are offered to one worker at a time at most, in bytes: more would hold up its link. */
const workerBytes = 1024 * 1024;

/**
 * Offers grants: at once those of jobs that need nothing besides, and the rest with the documents of their skills and
 * with what the jobs left that they depend on. Never rejects, as far as `offer` does not throw.
 */
export async function offerWithRest(
  c: RestContext,
  orgId: string,
  grants: readonly Grant[],
  offer: (grants: readonly Grant[]) => void,
): Promise<void> {
  const bare = grants.filter((grant) => !mayHaveDocuments(grant) && grant.parents.length === 0);
  offer(bare);
  if (bare.length === grants.length) return;
  const rest = await withDocuments(
    c,
    orgId,
    grants.filter((grant) => mayHaveDocuments(grant) || grant.parents.length > 0),
  );
  const children = rest.filter(({ parents }) => parents.length > 0);
  offer(rest.filter(({ parents }) => parents.length === 0));
  if (children.length > 0) offer(await withParentResults(c, orgId, children));
}

function mayHaveDocuments({ skills, instructions }: Grant): boolean {
  return skills.length > 0 || instructions.length > 0;
}

// Digests alone: a worker that does not have a text asks for it.
async function withDocuments(
  { documents, log }: RestContext,
  orgId: string,
  grants: readonly Grant[],
): Promise<readonly Grant[]> {
  if (!grants.some(mayHaveDocuments)) return grants;
  const digests = await documents.digests(orgId).catch((error: unknown) => {
    log.warn({ err: error, orgId }, "jobs were offered without the documents of their skills");
    return new Map<string, string>();
  });
  return grants.map((grant) =>
    digests.size === 0 && grant.instructions.length === 0
      ? grant
      : { ...grant, documents: documentsOf(digests, grant.instructions, grant.skills) },
  );
}

// Where it is little, a handler has it at once. Who gets nothing with the offer asks for it.
async function withParentResults(
  { db, log }: RestContext,
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

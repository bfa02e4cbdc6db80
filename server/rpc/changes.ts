import type { ServiceImpl } from "@connectrpc/connect";
import type { WatchService } from "@muster/client/v1/watch_service";
import { invalidArgument } from "../domain/errors.ts";
import { checkedState } from "../domain/job-views.ts";
import type { ChangePage } from "../store/changes.ts";
import { callerOf } from "./auth.ts";
import { type Problems, readDurationIn, refuseProblems, writeId } from "./messages.ts";
import type { ApiParts } from "./parts.ts";
import { aliveMs, pause, throwIfEnded } from "./waiting.ts";
import { listWatches, readFeedRevision, waitBounds } from "./watches.ts";

/** `muster.v1.WatchService`. */
export function watchService(parts: ApiParts): ServiceImpl<typeof WatchService> {
  const { feed, nowMs = () => performance.now() } = parts;
  return {
    ...listWatches(parts),

    async *watchChanges(request, context) {
      const { orgId } = callerOf(context);
      const { signal } = context;
      let revision = readRevision(request.revision);
      let spokeMs = Number.NEGATIVE_INFINITY;
      for (;;) {
        const news = feed.waitForOrg(orgId, signal);
        const page = await feed.readSince(orgId, revision);
        revision = page.revision;
        const isNews = page.isReset || page.changes.length > 0;
        // The first message tells where the watch begins; later ones without changes, that it lives.
        if (isNews || nowMs() - spokeMs >= aliveMs) {
          yield changesMessage(page);
          spokeMs = nowMs();
        }
        // A full page is followed by the next one at once.
        if (!isNews) await Promise.all([news, pause(readPauseMs, signal)]);
        throwIfEnded(signal);
      }
    },

    async listChanges(request, context) {
      const problems: Problems = [];
      const waitMs = readDurationIn(problems, "wait", request.wait, waitBounds);
      refuseProblems(problems);
      const { orgId } = callerOf(context);
      const { signal } = context;
      const endMs = nowMs() + waitMs;
      let revision = readRevision(request.revision);
      for (;;) {
        const leftMs = Math.max(0, endMs - nowMs());
        const news = feed.waitForOrg(orgId, signal, Math.min(1_000, leftMs));
        const page = await feed.readSince(orgId, revision);
        if (page.isReset || page.changes.length > 0 || leftMs === 0) return changesMessage(page);
        revision = page.revision;
        await Promise.all([news, pause(Math.min(readPauseMs, leftMs), signal)]);
        throwIfEnded(signal);
      }
    },
  };
}

/** Least time between two looks that found nothing, for an org where every moment has news. */
const readPauseMs = 20;

/** A revision in the form that it is answered in. Empty: now. */
function readRevision(revision: string): string {
  if (revision === "") return revision;
  const known = readFeedRevision(revision);
  if (known !== null) return known;
  throw invalidArgument([{ field: "revision", message: "is not one that was answered" }]);
}

function changesMessage({ isReset, changes, revision }: ChangePage) {
  return {
    reset: isReset,
    revision,
    changes: changes.map(({ jobId, state, attempt, workerId }) => ({
      jobId: writeId("job", jobId),
      state: checkedState(state),
      attempt,
      workerId: writeId("worker", workerId),
    })),
  };
}

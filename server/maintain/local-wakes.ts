import type { Dispatcher } from "../dispatch/dispatcher.ts";
import type { Feed } from "../dispatch/feed.ts";
import type { Coordinator, Wakes } from "../domain/context.ts";
import type { LinkSession } from "../link/session.ts";
import type { Attempts } from "./attempts.ts";
import { pushCommands } from "./commands.ts";
import { withdrawOffers } from "./gates.ts";
import type { ReleaseSweep } from "./releases.ts";
import { refreshStandingOf } from "./standing.ts";
import { pushCancels, reconcileLeases } from "./sweeps.ts";

/** What wakes set in motion on this coordinator. */
export interface WokenParts {
  readonly coordinator: Coordinator;
  readonly dispatcher: Dispatcher;
  readonly sessions: ReadonlySet<LinkSession>;
  readonly feed: Feed;
  readonly releases: ReleaseSweep;
  readonly attempt: Attempts["run"];
  /** Aborts when the sweeps are to end. */
  readonly signal: AbortSignal;
  readonly nowMs: () => number;
}

/** What each wake does here, without waiting for it. `parts` is asked at each wake: wakes are made before the rest. */
export function localWakes(parts: () => WokenParts): Wakes {
  return {
    ready: (orgId, counts) => {
      const { dispatcher } = parts();
      if (counts) dispatcher.announce(orgId, counts);
      else void dispatcher.refresh(orgId);
    },
    released: (orgId) => {
      const { attempt, releases, signal } = parts();
      void attempt("release dependants", () => releases.drain(orgId, signal));
    },
    changed: (orgId, jobIds) => parts().feed.nudge(orgId, jobIds),
    cancel: (orgId) => void parts().attempt("push cancels", () => pushCancels(parts(), orgId)),
    revoked: (orgId) => void parts().attempt("tell revokes", () => reconcileLeases(parts(), orgId)),
    command: (orgId) => {
      const { attempt } = parts();
      void attempt("push commands", () => pushCommands(parts(), orgId));
      void attempt("end links", () => refreshStandingOf(parts(), orgId));
    },
    gates: (orgId) => {
      const { attempt, dispatcher } = parts();
      void dispatcher.refresh(orgId);
      void attempt("withdraw offers", () => withdrawOffers(parts(), orgId));
    },
    routes: (orgId) => void parts().dispatcher.routes.refresh(orgId),
  };
}

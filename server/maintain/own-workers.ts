import { type Sweep, where } from "./lookout.ts";

/**
 * The orgs that have jobs of built-in kinds which nobody serves, for whoever runs a worker for them beside this
 * coordinator. While nobody listens, nothing is asked.
 */
export class WantedWorkers {
  #tell: ((orgId: string) => void) | undefined;

  /** Hears of each such org, again and again until a worker serves it: what is not done now may be done later. */
  listen(tell: (orgId: string) => void): void {
    this.#tell = tell;
  }

  /** The sweep that tells of them. */
  sweep(): Sweep {
    const wanted = where((work) => work.wantsOwnWorker);
    return {
      name: "own workers",
      spacingMs: 0,
      orgs: (seen) => (this.#tell === undefined ? [] : wanted(seen)),
      pass: async (orgId) => this.#tell?.(orgId),
    };
  }
}

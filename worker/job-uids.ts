import { createServer, type Server } from "node:net";
import { hasProcessOf } from "./process-table.ts";

/** Ids of users that no person has, for the jobs of this worker: one a job, never two at once. */
export class JobUids {
  readonly #first: number;
  readonly #count: number;
  readonly #claims = new Map<number, Server>();
  readonly #free: number[] = [];
  #isClosed = false;

  /** Takes from `count` ids, the first of which is `first`. */
  constructor({ first, count }: { readonly first: number; readonly count: number }) {
    this.#first = first;
    this.#count = count;
  }

  /** An id under which nothing runs, until `release`; undefined when all are taken. */
  async take(): Promise<number | undefined> {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    for (let uid = this.#first; uid < this.#first + this.#count; uid++) {
      if (this.#claims.has(uid)) continue;
      const claim = await claimUid(uid);
      if (claim === undefined) continue;
      if (this.#claims.has(uid) || (await hasProcessOf(uid))) {
        claim.close();
        continue;
      }
      this.#claims.set(uid, claim);
      return uid;
    }
    return undefined;
  }

  /** Gives an id back. One that something still runs under, as a process that hangs in the kernel, is given up. */
  async release(uid: number): Promise<void> {
    if (await hasProcessOf(uid)) return;
    if (this.#isClosed) this.#letGo(uid);
    else this.#free.push(uid);
  }

  /** Lets go of all ids that are not taken; of those with their release: until then their processes are killed. */
  close(): void {
    this.#isClosed = true;
    for (const uid of this.#free.splice(0)) this.#letGo(uid);
  }

  #letGo(uid: number): void {
    this.#claims.get(uid)?.close();
    this.#claims.delete(uid);
  }
}

// Another worker of this machine must not take the same: a name among abstract sockets goes with its process, also with
// one that crashes.
function claimUid(uid: number): Promise<Server | undefined> {
  const server = createServer((socket) => socket.destroy());
  server.unref();
  return new Promise((resolve) => {
    server.once("error", () => resolve(undefined));
    server.listen(`\0muster-job-uid-${uid}`, () => resolve(server));
  });
}

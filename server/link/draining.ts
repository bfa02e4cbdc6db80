import { CommandAction } from "@muster/client/v1/link";
import type { Link } from "../dispatch/link.ts";
import { dropCommand, type StoredCommand } from "../store/commands.ts";
import { inOrg } from "../store/database.ts";
import { drainLink } from "../store/links.ts";
import { frame } from "./frames-out.ts";
import type { LinkParts } from "./parts.ts";
import type { FrameSink } from "./session.ts";

const actions = { drain: CommandAction.DRAIN, resume: CommandAction.RESUME } as const;

/** What is told to a worker that is to take nothing new, or work again. */
type DrainCommand = StoredCommand & { readonly action: keyof typeof actions };

/**
 * Whether a link takes new work: its worker may drain of itself, or an operator
 * may want it to. A command is told until the worker's heartbeats say that it
 * does what it was told; then its row goes.
 */
export class Draining {
  readonly #parts: LinkParts;
  readonly #link: Link;
  readonly #sink: FrameSink;
  /** What its worker said last. */
  #isSaid: boolean;
  /** What its operators want, as far as it is known here. */
  #isWanted: boolean;
  /** What the row says; null: not known. */
  #isNoted: boolean | null;
  #command: DrainCommand | null = null;

  /** @param isSaid what its Hello said. @param isWanted what its operators want. */
  constructor(parts: LinkParts, link: Link, sink: FrameSink, isSaid: boolean, isWanted: boolean) {
    this.#parts = parts;
    this.#link = link;
    this.#sink = sink;
    this.#isSaid = isSaid;
    this.#isWanted = isWanted;
    this.#isNoted = isSaid || isWanted;
  }

  /** Tells the worker, or ends its link for a new one. Called again each second, until it is acknowledged. */
  tell({ action, ...of }: StoredCommand): void {
    // What the server allows a worker is settled by its Hello.
    if (action === "reattach") {
      this.#link.port.goAway("restart", "what the server allows this worker was changed");
      return;
    }
    const command: DrainCommand = { ...of, action };
    const isNew = this.#command?.commandId !== command.commandId;
    this.#command = command;
    this.#sink.send(
      frame({ case: "command", value: { action: actions[command.action], commandId: command.commandId } }),
    );
    if (!isNew) return;
    this.#isWanted = command.action === "drain";
    // The row says already that it drains, whatever was known here.
    this.#link.isDraining = true;
    this.#isNoted = null;
    this.#settle();
  }

  /** A heartbeat says whether its worker drains. */
  hear(isDraining: boolean): void {
    this.#isSaid = isDraining;
    this.#settle();
    const command = this.#command;
    if (!command || (command.action === "drain") !== isDraining) return;
    this.#command = null;
    const { coordinator } = this.#parts;
    void this.#parts.attempt("forget a command", () =>
      inOrg(coordinator.db.app, this.#link.orgId, (tx) => dropCommand(tx, this.#link.orgId, command)),
    );
  }

  /**
   * Writes into the row of the link whether it drains, unless it says so already. Awaited before a heartbeat is echoed:
   * a worker that was told so is granted nothing more, and when it is gone, what it had is given back.
   */
  async note(): Promise<void> {
    const isDraining = this.#isSaid || this.#isWanted;
    if (isDraining === this.#isNoted) return;
    const { orgId, workerId, linkEpoch } = this.#link;
    const { coordinator, dispatcher } = this.#parts;
    this.#isNoted = null;
    await drainLink(coordinator.db, orgId, { workerId, linkEpoch, isDraining });
    this.#isNoted = isDraining;
    if (!isDraining) dispatcher.wake(orgId);
  }

  #settle(): void {
    const isDraining = this.#isSaid || this.#isWanted;
    if (isDraining === this.#link.isDraining) return;
    this.#link.isDraining = isDraining;
    void this.#parts.attempt("note a drain", () => this.note());
  }
}

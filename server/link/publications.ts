import type { LinksChanged } from "@muster/client/v1/link";
import type { Link } from "../dispatch/link.ts";
import { changeLinks } from "../domain/publications.ts";
import type { Conflict } from "../domain/rules/publications.ts";
import type { LinkParts } from "./parts.ts";
import { readPublished } from "./published.ts";

/**
 * What the worker of one link publishes. Changes are committed in the order in which they came; each replaces all
 * before it.
 */
export class Publications {
  readonly #parts: LinkParts;
  readonly #link: Link;
  #last: Promise<unknown> = Promise.resolve();

  constructor(parts: LinkParts, link: Link) {
    this.#parts = parts;
    this.#link = link;
  }

  /** Publishes; resolves with what was not taken over. Null when the link is no longer the worker's. */
  change(links: LinksChanged): Promise<readonly Conflict[] | null> {
    const committing = this.#last.then(() => this.#commit(links));
    this.#last = committing.catch(() => {});
    return committing;
  }

  async #commit(links: LinksChanged): Promise<readonly Conflict[] | null> {
    const { coordinator, refused } = this.#parts;
    const published = readPublished(links);
    const outcome = await changeLinks(coordinator, this.#link.orgId, this.#link, published);
    if (outcome === null) {
      refused("links-changed", "superseded");
      return null;
    }
    this.#link.publish(published.projects, outcome.sessions);
    return outcome.conflicts;
  }
}

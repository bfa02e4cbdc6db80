import { createHash } from "node:crypto";
import { DomainError, invalidArgument } from "./errors.ts";

/** Which page of a list is asked for. */
export interface PageRequest {
  /** 0 means 50; more than 1,000 is taken as 1,000. */
  readonly pageSize: number;
  /** From the previous page; empty for the first one. */
  readonly pageToken: string;
}

/** A page of a list. */
export interface Page<Item> {
  readonly items: readonly Item[];
  /** Empty at the end. */
  readonly nextPageToken: string;
}

/** What a list is a list of; a token of another one is refused. */
export interface ListIdentity {
  readonly list: string;
  readonly orgId: string;
  /** Everything else that decides what is on it, as JSON. */
  readonly filter?: unknown;
}

/** The number of rows a page that a request means. */
export function pageRows(
  { pageSize }: PageRequest,
  { standard = 50, most = 1_000 }: { readonly standard?: number; readonly most?: number } = {},
): number {
  if (!Number.isInteger(pageSize) || pageSize < 0) {
    throw invalidArgument([{ field: "pageSize", message: "must be a whole number from 0" }]);
  }
  return pageSize === 0 ? standard : Math.min(pageSize, most);
}

/** The token of the page that begins after `position`: the sort key of the last item. */
export function writePageToken(identity: ListIdentity, position: readonly string[]): string {
  return Buffer.from(JSON.stringify([digest(identity), ...position])).toString("base64url");
}

/**
 * The position in a token; null without one. `forms` are what its parts look like. A token of another list,
 * of other arguments, or a forged one is PAGE_TOKEN_INVALID.
 */
export function readPageToken(
  identity: ListIdentity,
  { pageToken }: PageRequest,
  forms: readonly RegExp[],
): readonly string[] | null {
  if (pageToken === "") return null;
  const [of, ...position] = parse(pageToken);
  const fits =
    of === digest(identity) &&
    position.length === forms.length &&
    position.every((part) => !part.includes("\0")) &&
    forms.every((form, n) => form.test(position[n] ?? ""));
  if (!fits) throw new DomainError("PAGE_TOKEN_INVALID");
  return position;
}

/** The form of an id within a token. */
export const uuidForm = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/**
 * The page of `rows`, which were read with one more than `size` to see whether there is another. `positionOf`
 * is the sort key of a row.
 */
export function pageOf<Row, Item>(
  rows: readonly Row[],
  size: number,
  identity: ListIdentity,
  positionOf: (row: Row) => readonly string[],
  itemOf: (row: Row) => Item,
): Page<Item> {
  const shown = rows.slice(0, size);
  const last = shown.at(-1);
  const isMore = rows.length > size && last !== undefined;
  return {
    items: shown.map(itemOf),
    nextPageToken: isMore ? writePageToken(identity, positionOf(last)) : "",
  };
}

function parse(token: string): string[] {
  if (token.length > 4_096) return [];
  try {
    const value: unknown = JSON.parse(Buffer.from(token, "base64url").toString());
    return Array.isArray(value) && value.every((part) => typeof part === "string") ? value : [];
  } catch {
    return [];
  }
}

function digest({ list, orgId, filter = null }: ListIdentity): string {
  return createHash("sha256")
    .update(JSON.stringify([list, orgId, filter]))
    .digest("base64url")
    .slice(0, 12);
}

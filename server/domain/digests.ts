import type { Mailer } from "../outbound/mail.ts";
import { readDigest, readDigestWindow } from "../store/digests.ts";
import { readOrgState } from "../store/orgs.ts";
import { readOrg } from "../store/snapshot.ts";
import type { Coordinator } from "./context.ts";
import { type DigestMail, writeDigest } from "./rules/digests.ts";

/** What a digest is asked to be. */
export interface DigestRequest {
  readonly orgId: string;
  readonly period: "day" | "week";
  /** Of the IANA database. */
  readonly zone: string;
}

/** The digest of the day, or the week from Monday, that ended last in the zone. */
export function makeDigest(
  { db }: Pick<Coordinator, "db">,
  { orgId, period, zone }: DigestRequest,
): Promise<DigestMail> {
  return readOrg(db.sweep, orgId, async (tx) => {
    const window = await readDigestWindow(tx, { period, zone });
    const org = await readOrgState(tx, orgId);
    return writeDigest(await readDigest(tx, orgId, window), {
      org: org?.name ?? "",
      period,
      zone,
      ...window,
    });
  });
}

/** Sends it. `messageId`: the same each time that this very digest is sent. */
export async function sendDigest(
  c: Pick<Coordinator, "db"> & { readonly mailer: Pick<Mailer, "send"> },
  request: DigestRequest & { readonly to: readonly string[]; readonly messageId: string },
): Promise<{ readonly subject: string }> {
  const mail = await makeDigest(c, request);
  await c.mailer.send({ ...mail, to: request.to, messageId: request.messageId });
  return { subject: mail.subject };
}

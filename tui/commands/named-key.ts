import { type Key, KeyService } from "@muster/client/v1/key_service";
import type { Call } from "../call.ts";
import { CliError, usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { quote } from "../input/confirm.ts";
import { collectPages } from "./pages.ts";

/** A key by what people have of it. The whole text of one that leaked may be that: only its id is sent. */
export async function findKey(call: Call, idOrName: string): Promise<Pick<Key, "keyId" | "name">> {
  const wanted = /^[a-z]{2,8}_[a-z]+_([0-9A-Za-z]{12})_/.exec(idOrName)?.[1] ?? idOrName;
  const { rows } = await collectPages({ all: true }, async (pageSize, pageToken) => {
    const response = await call.client(KeyService).listKeys({ pageSize, pageToken, all: true }, call.once());
    return { rows: response.keys, nextPageToken: response.nextPageToken };
  });
  const exact = rows.find(({ keyId }) => keyId === wanted);
  if (exact !== undefined) return exact;
  const live = rows.filter(({ revokeTime }) => revokeTime === undefined);
  const named = live.filter(({ name }) => name === wanted);
  const found =
    named.length > 0 ? named : live.filter(({ keyId }) => wanted !== "" && keyId.startsWith(wanted));
  const [only, ...others] = found;
  if (only === undefined) {
    throw new CliError(`there is no key ${quote(wanted)}`, {
      reason: "KEY_NOT_FOUND",
      exitCode: exitCodes.notFound,
      suggestion: "List those that there are with `muster key list`.",
    });
  }
  if (others.length === 0) return only;
  throw usageError(
    `${quote(wanted)} may be any of ${found.length} keys`,
    "Give the whole id.",
    found.slice(0, 10).map(({ keyId, name }) => ({ field: keyId, message: name })),
  );
}

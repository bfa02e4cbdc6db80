import type { ConnectResponse, OfferedLease } from "@muster/client/v1/link";

import { documentBytes } from "../domain/skill-documents.ts";
import { parentBytes } from "../store/parent-results.ts";

/** What a lease costs on the wire besides its payload: ids, kind, durations. */
const leaseBytes = 300;

/**
 * About how many bytes a frame has on the wire. Not exact: to know that, each frame would have to be written
 * twice. What is large, payloads, labels and texts, is counted as it is.
 */
export function frameBytes({ frame }: ConnectResponse): number {
  switch (frame.case) {
    case "offer":
      return frame.value.leases.reduce((sum, lease) => sum + offerBytes(lease), 64);
    case "resultAck":
      return frame.value.items.reduce((sum, item) => sum + 64 + item.detail.length, 64);
    case "eventAck":
      return 64 + 96 * frame.value.items.length;
    case "heartbeatAck":
      return 64 + 80 * frame.value.lost.length;
    case "offerAck":
      return 64 + 80 * (frame.value.leases.length + frame.value.superseded.length);
    case "message":
      return 160 + 3 * frame.value.text.length;
    case "welcome":
      return 512 + 88 * frame.value.verdicts.length + 400 * frame.value.conflicts.length;
    case "linksAck":
      return 64 + 400 * frame.value.conflicts.length;
    case "cancel":
    case "command":
    case "goingAway":
    case undefined:
      return 256;
  }
}

function offerBytes({ payload, title, labels, parentResults, skillDocuments }: OfferedLease): number {
  const data = payload?.content.case === "data" ? payload.content.value.length : 0;
  const texts = Object.entries(labels).reduce((sum, [key, text]) => sum + key.length + text.length + 8, 0);
  const parents = parentResults.reduce((sum, { kind, externalId, result }) => {
    const left = result?.content.case === "data" ? result.content.value.length : 0;
    return sum + parentBytes + kind.length + Buffer.byteLength(externalId) + left;
  }, 0);
  const documents = skillDocuments.length * documentBytes;
  return leaseBytes + data + title.length + texts + parents + documents;
}

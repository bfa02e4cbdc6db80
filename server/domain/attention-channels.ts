import type { readFailingChannels } from "../store/alert-channels.ts";
import { AttentionCause, type AttentionItem, AttentionSeverity } from "./rules/attention.ts";
import { shellWord } from "./rules/shell-words.ts";

/** Channels of alerts that messages do not get through: nobody else would tell. */
export function channelItems(rows: Awaited<ReturnType<typeof readFailingChannels>>): AttentionItem[] {
  return rows.map(({ name, type, failingSince, lastError, failures }) => ({
    id: `channel-failing channel:${name}`,
    cause: AttentionCause.channelFailing,
    severity: AttentionSeverity.critical,
    target: `channel:${name}`,
    summary: `Channel ${name} (${type}) takes no messages: ${lastError} (${failures} tries)`,
    effect: "Its alerts wait for up to three days, and nobody is told by it",
    fix: "Check its address and its secret; what waits is sent by itself once one message gets through",
    command: `muster channel test ${shellWord(name)}`,
    since: failingSince,
    jobs: 0,
    jobIds: [],
  }));
}

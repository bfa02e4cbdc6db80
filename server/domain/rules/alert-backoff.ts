/** A message is given up when it waited for so long: a channel may be down for a weekend. */
export const maxDeliveryAgeMs = 3 * 86_400_000;

const firstMs = 10_000;
const longestMs = 900_000;

/** How long a channel that failed `failures` times in a row before rests: 10 s, doubled each time, up to 15 min. */
export function backoffMs(failures: number, random: number): number {
  const ms = Math.min(longestMs, firstMs * 2 ** Math.min(failures, 10));
  return ms * (0.9 + 0.2 * random);
}

const firstDelayMs = 200;
const maxWindowMs = 64_000;

/**
 * How long to wait before the next try to connect, after `failures` of them in a row (1 or more): about 200 ms
 * first, then anywhere in a window of 1 s that doubles up to 64 s. The spread keeps thousands of workers that
 * lost one coordinator from coming back in one moment. `random` is in [0, 1).
 */
export function reconnectDelayMs(failures: number, random: number): number {
  if (failures <= 1) return firstDelayMs * (0.5 + random);
  const windowMs = Math.min(maxWindowMs, 1000 * 2 ** (failures - 2));
  return firstDelayMs / 2 + windowMs * random;
}

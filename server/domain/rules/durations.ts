/** A length of time for people, in its two largest units: `850ms`, `12s`, `4m05s`, `3h12m`, `2d4h`. */
export function durationText(ms: number): string {
  if (ms < 1_000) return `${Math.max(0, Math.round(ms))}ms`;
  const seconds = Math.floor(ms / 1_000);
  if (seconds < 60) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}m${String(seconds % 60).padStart(2, "0")}s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours}h${String(minutes % 60).padStart(2, "0")}m`;
  return `${Math.floor(hours / 24)}d${hours % 24}h`;
}

/** A point in time for people: RFC 3339 in UTC, without fractions. */
export function timeText(time: Date): string {
  return `${time.toISOString().slice(0, 19)}Z`;
}

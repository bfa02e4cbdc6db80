/** Characters of a message that tell it from others. */
const lookedAt = 2_000;

// In this order: what comes later would take what comes first to pieces. Each is read in linear time.
const varying: readonly (readonly [form: RegExp, instead: string])[] = [
  // Times, before their numbers.
  [/\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?/g, "#"],
  // What a URL leads to; its host stays.
  [/([a-z][a-z0-9+.-]{1,20}:\/\/[^\s/"'<>?#]{1,255})[/?#][^\s"'<>]*/gi, "$1/#"],
  // Ids: ours and those of others in the same form, UUIDs.
  [/\b[a-z]{2,12}_[0-9a-z]{16,}\b/gi, "#"],
  [/\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/gi, "#"],
  // Paths of two names or more.
  [/(^|[\s"'`(=:,])(?:[a-z]:|~|\.{1,2})?(?:[/\\][^\s/\\"'`():,]+){2,}[/\\]?/gi, "$1/#"],
  // Names with a random end, addresses in memory, digests, and other words that are numbers at heart.
  [/\b(?=[a-z_-]*\d)[\w-]{24,}/gi, "#"],
  [/\b0x[0-9a-f]+\b/gi, "#"],
  [/\b(?=[a-f]*\d)[0-9a-f]{6,}\b/gi, "#"],
  [/\d+(?:[.,:]\d+)*/g, "#"],
  // A list of them is as good as one.
  [/#(?:[\s,;]+#)+/g, "#"],
  [/\s+/g, " "],
];

/** A message without what varies between equal errors: numbers, ids, paths, hex, times. */
export function errorPattern(message: string): string {
  let pattern = message.slice(0, lookedAt);
  for (const [form, instead] of varying) pattern = pattern.replace(form, instead);
  return pattern.trim();
}

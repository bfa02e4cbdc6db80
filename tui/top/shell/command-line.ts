/** A word of a command line as a shell reads it: in quotes where it needs them. */
export function shellWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** A command line of ours; undefined and empty parts are left out, flags come with their values. */
export function commandLine(
  ...parts: readonly (string | readonly [flag: string, value: string] | undefined)[]
): string {
  const words = parts.flatMap((part) => {
    if (part === undefined || part === "") return [];
    if (typeof part === "string") return [part];
    const [flag, value] = part;
    return value === "" ? [] : [`${flag} ${shellWord(value)}`];
  });
  return ["muster", ...words].join(" ");
}

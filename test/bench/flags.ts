/** The words after `npm run bench --`. */
export interface Flags {
  /** The first word that is no flag. */
  readonly what: string | undefined;
  has(flag: string): boolean;
  text(flag: string): string | undefined;
  /** Throws when what is given is no number. */
  number(flag: string, standard: number): number;
}

/** Reads them: `WHAT --name value --switch`. */
export function readFlags(words: readonly string[]): Flags {
  const text = (flag: string): string | undefined => {
    const index = words.indexOf(flag);
    return index < 0 ? undefined : words[index + 1];
  };
  return {
    what: words[0]?.startsWith("--") === false ? words[0] : undefined,
    has: (flag) => words.includes(flag),
    text,
    number(flag, standard) {
      const given = text(flag);
      const value = given === undefined ? standard : Number(given);
      if (given?.trim() === "" || !Number.isFinite(value))
        throw new Error(`${flag} is not a number: ${given}`);
      return value;
    },
  };
}

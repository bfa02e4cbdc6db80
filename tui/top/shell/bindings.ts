/** How much an action can do wrong: it is done at once; can be undone; asks first; asks for the name or the count. */
export type Danger = "none" | "mild" | "moderate" | "severe";

/** Where the help shows a key. */
export type KeyGroup = "move" | "act" | "look" | "go";

/** What equals an action outside of the console. */
export interface Equal {
  /** The command, without flags and ids: `job cancel`. */
  readonly command: string;
  /** The method: `JobService.ActOnJobs`. */
  readonly method: string;
}

/** A key of a screen, and what it does. */
export interface KeyBinding {
  /** The action, for the configuration and the list of all actions: `job.cancel`. */
  readonly id: string;
  /** Names of keys, the one to show first. */
  readonly keys: readonly string[];
  /** What it does, in two or three words; may say to how many. */
  readonly label: string | (() => string);
  readonly group: KeyGroup;
  readonly danger: Danger;
  /** Why it cannot be done now; undefined when it can. Default: it always can. */
  readonly when?: () => string | undefined;
  /** The command and the method that it equals; absent for what only moves or shows. */
  readonly equal?: Equal;
  /** The same for the way back, where the key goes both ways: disable and enable. */
  readonly inverse?: Equal;
  /** The same for rows of other sorts, where one key does alike to all. */
  readonly alike?: readonly Equal[];
  /** Place among the hints in the bottom line, from 1; absent: only in the help. */
  readonly hint?: number;
  readonly run: () => void;
}

/** Keys by action from the configuration: they replace those of the table. */
export type KeyChoices = ReadonlyMap<string, readonly string[]>;

/** The keys of a screen as they are in force: its own before those of everywhere. */
export interface KeyTable {
  readonly bindings: readonly KeyBinding[];
  readonly find: (name: string) => KeyBinding | undefined;
}

/** Makes the table of a screen. A key of the screen hides the same key of everywhere. */
export function keyTable(
  own: readonly KeyBinding[],
  everywhere: readonly KeyBinding[],
  choices: KeyChoices,
): KeyTable {
  const chosen = (binding: KeyBinding): KeyBinding => {
    const keys = choices.get(binding.id);
    return keys === undefined ? binding : { ...binding, keys };
  };
  const mine = own.map(chosen);
  const taken = new Set(mine.flatMap(({ keys }) => keys));
  const rest = everywhere
    .map(chosen)
    .map((binding) => ({ ...binding, keys: binding.keys.filter((key) => !taken.has(key)) }))
    .filter(({ keys }) => keys.length > 0);
  const bindings = [...mine, ...rest];
  return { bindings, find: (name) => bindings.find(({ keys }) => keys.includes(name)) };
}

/** Keys that mean two things in one table, as `key: action, action`. */
export function clashes(bindings: readonly KeyBinding[]): string[] {
  const byKey = new Map<string, string[]>();
  for (const { id, keys } of bindings) {
    for (const key of keys) byKey.set(key, [...(byKey.get(key) ?? []), id]);
  }
  return [...byKey].filter(([, ids]) => ids.length > 1).map(([key, ids]) => `${key}: ${ids.join(", ")}`);
}

/** The label as it is now. */
export function labelOf({ label }: KeyBinding): string {
  return typeof label === "string" ? label : label();
}

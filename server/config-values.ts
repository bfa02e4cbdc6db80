/** What reading a setting gave: its value, or what is wrong (to be read after the setting's name). */
export type Reading<Value> = { readonly kind: "value"; readonly value: Value } | Wrong;

/** Why a value is refused, and what to write instead. */
export interface Wrong {
  readonly kind: "invalid";
  readonly message: string;
  readonly suggestion?: string;
}

/** Durations: in milliseconds. */
export const durationUnits: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};
/** Sizes: in bytes. */
export const sizeUnits: Readonly<Record<string, number>> = {
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
};

/** An amount with a unit of `units`, in the smallest of them, within `min` and `max` (written alike). */
export function quantity(
  raw: unknown,
  units: Readonly<Record<string, number>>,
  min: string,
  max: string,
  what: string,
  example: string,
): Reading<number> {
  const amount = amountOf(String(raw), units);
  const known = Object.keys(units).join(", ");
  if (amount === undefined) {
    return invalid(`is not ${what}: ${shown(raw)}`, `Write a number and a unit (${known}), like ${example}.`);
  }
  if (amount < (amountOf(min, units) ?? 0) || amount > (amountOf(max, units) ?? 0)) {
    return invalid(`is out of bounds: ${shown(raw)}`, `Write ${what} from ${min} to ${max}.`);
  }
  return valid(amount);
}

/** Sums `1h30m`; undefined if anything is not a number with a known unit. */
function amountOf(text: string, units: Readonly<Record<string, number>>): number | undefined {
  if (!/^(\d{1,15}(\.\d{1,9})?[a-zA-Z]{1,3}){1,5}$/.test(text)) return undefined;
  let sum = 0;
  for (const [, digits, unit] of text.matchAll(/([\d.]+)([a-zA-Z]+)/g)) {
    const factor = Object.hasOwn(units, unit ?? "") ? units[unit ?? ""] : undefined;
    if (factor === undefined) return undefined;
    sum += Number(digits) * factor;
  }
  return Math.round(sum);
}

/** A plain number of this form, within the bounds. */
export function numberIn(
  raw: unknown,
  form: RegExp,
  min: number,
  max: number,
  what: string,
): Reading<number> {
  const number = form.test(String(raw)) ? Number(raw) : Number.NaN;
  if (number >= min && number <= max) return valid(number);
  return invalid(`is not ${what} from ${min} to ${max}: ${shown(raw)}`);
}

/** A path; whether something is there is not looked at. */
export function readPath(raw: unknown): Reading<string> {
  if (typeof raw === "string" && raw !== "" && !raw.includes("\0")) return valid(raw);
  return invalid(`is not a path: ${shown(raw)}`);
}

/** Whether the text is an http or https address without path, query or user. */
export function isOrigin(text: string): boolean {
  const url = /^https?:\/\/[^?#@\\\s]+$/i.test(text) ? URL.parse(text) : null;
  return url !== null && url.pathname === "/";
}

/** A value as it is quoted in a message; never for a secret. */
export function shown(raw: unknown): string {
  const text = JSON.stringify(raw) ?? String(raw);
  return text.length > 60 ? `${text.slice(0, 59)}…` : text;
}

/** A reading that succeeded. */
export function valid<Value>(value: Value): Reading<Value> {
  return { kind: "value", value };
}

/** A reading that failed. */
export function invalid(message: string, suggestion?: string): Wrong {
  return suggestion === undefined ? { kind: "invalid", message } : { kind: "invalid", message, suggestion };
}

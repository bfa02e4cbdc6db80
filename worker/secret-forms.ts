import { cleanText } from "./text.ts";

/** Fewer UTF-16 units than this are too common in ordinary text to be taken out of it. */
export const minSecretLength = 6;

/**
 * The forms in which a secret may turn up in text, longest first: as it is, each of its lines, in base64 (both
 * alphabets, also inside of a longer encoded text), in hex, URL-encoded, and escaped for JSON once or twice.
 * Empty for one that is shorter than 6.
 */
export function secretForms(secret: string): string[] {
  const forms = new Set<string>();
  for (const part of new Set([secret, cleanText(secret), secret.trim(), ...secret.split(/\r?\n/)])) {
    if (part.length < minSecretLength) continue;
    const bytes = Buffer.from(part, "utf8");
    const written = [part, ...base64Forms(bytes), ...hexForms(bytes), ...urlForms(part), ...jsonForms(part)];
    for (const form of written) if (form.length >= minSecretLength) forms.add(form);
  }
  return [...forms].sort((a, b) => b.length - a.length);
}

// Three bytes become four characters, so what a secret looks like depends on how many bytes stand before it, by
// three. Characters that a neighbour's bits go into are left out; where nothing follows, the last one is the secret's.
function base64Forms(bytes: Buffer): string[] {
  const forms: string[] = [];
  for (const before of [0, 1, 2]) {
    const padded = Buffer.concat([Buffer.alloc(before), bytes]).toString("base64");
    const encoded = padded.replace(/=+$/, "");
    const start = Math.ceil((before * 8) / 6);
    const whole = Math.floor(((before + bytes.length) * 8) / 6);
    for (const form of [encoded.slice(start, whole), encoded.slice(start), padded.slice(start)])
      forms.push(form, form.replaceAll("+", "-").replaceAll("/", "_"), encodeURIComponent(form));
  }
  return forms;
}

function hexForms(bytes: Buffer): string[] {
  const hex = bytes.toString("hex");
  return [hex, hex.toUpperCase()];
}

function urlForms(secret: string): string[] {
  const plain = encodeURIComponent(secret.toWellFormed());
  const strict = plain.replace(/[!'()*]/g, (one) => `%${one.charCodeAt(0).toString(16).toUpperCase()}`);
  const found = [plain, strict, encodeURI(secret.toWellFormed())];
  const spaced = found.map((one) => one.replaceAll("%20", "+"));
  return [...found, ...spaced].flatMap((one) => [
    one,
    one.replace(/%[0-9A-F]{2}/g, (code) => code.toLowerCase()),
  ]);
}

function jsonForms(secret: string): string[] {
  const once = escaped(secret);
  const forms = [...quoted(secret), once.replaceAll("/", "\\/"), ascii(once, false), ascii(once, true)];
  return [...forms, ...forms.flatMap(quoted)];
}

// In JSON, and as Node shows it in quotes of another sort.
function quoted(text: string): string[] {
  const once = escaped(text);
  const shown = once.replaceAll('\\"', '"');
  return [once, shown, shown.replaceAll("'", "\\'")];
}

function escaped(text: string): string {
  return JSON.stringify(text).slice(1, -1);
}

function ascii(json: string, isUpper: boolean): string {
  return json.replace(/[^\0-\x7f]/g, (unit) => {
    const hex = unit.charCodeAt(0).toString(16).padStart(4, "0");
    return `\\u${isUpper ? hex.toUpperCase() : hex}`;
  });
}

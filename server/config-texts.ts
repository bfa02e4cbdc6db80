import { type Field, field, optional } from "./config-forms.ts";
import { invalid, type Reading, shown, valid } from "./config-values.ts";

/** A word of a-z 0-9 . _ - : a name, or the issuer of tokens, which may be a URL. */
export function slugText(key: string, byDefault: string, description: string): Field<string> {
  return field(key, "text", description, byDefault, (raw) =>
    typeof raw === "string" && /^[\w.:/-]{1,200}$/.test(raw)
      ? valid(raw)
      : invalid(`is not a word: ${shown(raw)}`, `Write it like ${byDefault}.`),
  );
}

/** A text without spaces that may be left out. */
export function optionalText(key: string, description: string): Field<string | undefined> {
  return optional(key, "text", "none", description, (raw) =>
    typeof raw === "string" && /^[\x21-\x7e]{1,500}$/.test(raw)
      ? valid(raw)
      : invalid(`is empty or has spaces: ${shown(raw)}`),
  );
}

/** An address that may be left out; it stays as it is written, a slash at its end too. */
export function optionalUrl(key: string, description: string): Field<string | undefined> {
  return optional(key, "url", "none", description, (raw) =>
    typeof raw === "string" && /^https?:\/\/[^?#@\\\s]+$/i.test(raw) && URL.canParse(raw)
      ? valid(raw)
      : invalid(`is not an http or https address: ${shown(raw)}`, "Write it like https://login.example."),
  );
}

/** Words with what they stand for, each as `name=value`; a map in the file. */
export function pairs(
  key: string,
  description: string,
  isValue: (text: string) => boolean,
  words: string,
): Field<readonly string[]> {
  const read = (raw: unknown): Reading<readonly string[]> => {
    const isMap = typeof raw === "object" && raw !== null && !Array.isArray(raw);
    const listed = isMap ? Object.entries(raw).map((pair) => pair.join("=")) : String(raw).split(",");
    const given = listed.map((one) => one.trim()).filter((one) => one !== "");
    const wrong = given.find((one) => !/^.+=/.test(one) || !isValue(one.slice(one.lastIndexOf("=") + 1)));
    if (wrong === undefined) return valid(given);
    return invalid(`is not of the form name=value with ${words}: ${shown(wrong)}`);
  };
  return { ...field(key, "name=value,…", description, "", read), fallbackText: "none" };
}

import type { Random } from "../../chaos/random.ts";

/** Texts of a field that are kept, the latest ones. */
const keptMost = 200;

/** What answers said, by field: so that later requests name what exists. */
export class Harvest {
  readonly #texts = new Map<string, string[]>();

  /** Keeps the texts of an answer. */
  gather(value: unknown, depth = 0): void {
    if (typeof value !== "object" || value === null || depth > 8 || ArrayBuffer.isView(value)) return;
    for (const [name, one] of Object.entries(value)) {
      if (typeof one === "string") this.#keep(name, one);
      else if (Array.isArray(one)) {
        for (const item of one.slice(0, 3)) {
          if (typeof item === "string") this.#keep(name, item);
          else this.gather(item, depth + 1);
        }
      } else this.gather(one, depth + 1);
    }
  }

  /** A text that an answer had in a field like this one. */
  textFor(protoName: string, random: Random): string | undefined {
    const name = protoName.replaceAll(/_(\w)/g, (_all, letter: string) => letter.toUpperCase());
    const texts =
      this.#texts.get(name) ??
      this.#texts.get(name.replace(/s$/, "")) ??
      this.#texts.get(name === "pageToken" ? "nextPageToken" : name);
    return texts === undefined ? undefined : random.pick(texts);
  }

  #keep(name: string, text: string): void {
    if (name === "$typeName" || text === "" || text.length > 500) return;
    const texts = this.#texts.get(name);
    if (texts === undefined) this.#texts.set(name, [text]);
    else if (texts.length < keptMost) texts.push(text);
    else texts[Math.floor(Math.random() * keptMost)] = text;
  }
}

import { type MouseReport, readMouse } from "./terminal.ts";

/** What Ink reads keys from. */
interface Readable {
  readonly read: (size?: number) => unknown;
}

/**
 * The same stream without what the terminal tells of the mouse, which is handed on: Ink drops every sequence that is
 * no key before anybody sees it. A report that comes in two chunks is put together.
 */
export function withoutMouse<Stream extends Readable>(
  stdin: Stream,
  onMouse: (report: MouseReport | "other") => void,
): Stream {
  let held = "";
  const read = (size?: number): unknown => {
    while (true) {
      const chunk = stdin.read(size);
      if (chunk === null || chunk === undefined) return chunk;
      const text = held + String(chunk);
      held = begun.exec(text)?.[0] ?? "";
      const rest = text.slice(0, text.length - held.length).replace(reports, (report) => {
        const mouse = readMouse(report.slice(1));
        if (mouse !== undefined) onMouse(mouse);
        return "";
      });
      if (rest !== "") return rest;
    }
  };
  return new Proxy(stdin, {
    get: (target, name) => {
      if (name === "read") return read;
      const value: unknown = Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: an escape is what it is for
const reports = /\u001b\[<\d+;\d+;\d+[Mm]/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: an escape is what it is for
const begun = /\u001b\[<[\d;]*$/;

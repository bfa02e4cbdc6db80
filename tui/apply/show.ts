import type { Plain } from "../output/message-document.ts";
import type { Output } from "../output/output.ts";
import { sanitize } from "../output/sanitize.ts";
import { showCount } from "../output/time.ts";
import type { Change, Plan } from "./plan.ts";

const signs = { create: "+", change: "~", none: "=", remove: "-" } as const;
const styles = { create: "green", change: "yellow", none: "dim", remove: "red" } as const;

/** A plan for people: a line a thing that is not as it is wanted, and below it what is different. */
export function planLines({ changes }: Plan, output: Output, isWhole = false): string[] {
  return changes
    .filter(({ action }) => isWhole || action !== "none")
    .flatMap(({ resource, name, action, fields, unchecked }) => [
      output.paint(styles[action], `${signs[action]} ${resource.kind} ${sanitize(name)}`),
      ...(action === "change" ? fields : []).map(
        ({ path, before, after }) => `    ${sanitize(path)}: ${valueText(before)} → ${valueText(after)}`,
      ),
      ...(unchecked === null ? [] : [`    checked when it is made: ${sanitize(unchecked)}`]),
    ]);
}

/** A plan as a JSON value. */
export function planValue({ changes }: Plan): unknown {
  return {
    changes: changes.map(({ resource, name, action, fields, document }) => ({
      kind: resource.kind,
      name,
      action,
      ...(document === null ? {} : { place: document.place }),
      fields: action === "change" ? fields : [],
    })),
  };
}

/** How much is to be done: `1 to create, 2 to change, 3 unchanged`. */
export function planWords({ changes }: Plan): string {
  const count = (action: Change["action"]): number => changes.filter((one) => one.action === action).length;
  const removed = count("remove");
  const words = [
    `${showCount(count("create"))} to create`,
    `${showCount(count("change"))} to change`,
    `${showCount(count("none"))} unchanged`,
    ...(removed === 0 ? [] : [`${showCount(removed)} to remove`]),
  ];
  return words.join(", ");
}

function valueText(value: Plain | undefined): string {
  if (value === undefined) return "(none)";
  const text = JSON.stringify(value);
  return sanitize(text.length > 200 ? `${text.slice(0, 199)}…` : text);
}

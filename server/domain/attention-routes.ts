import { createHash } from "node:crypto";
import { type LineItem, oldestOf, type WaitingLine } from "./attention-items.ts";
import { targetFix } from "./explain-gates.ts";
import { encodeId } from "./ids.ts";
import { holdOf, type Routing, routesOf } from "./routing.ts";
import { AttentionCause, AttentionSeverity } from "./rules/attention.ts";
import { isServed, routeAdvice } from "./rules/route-advice.ts";
import { listed } from "./rules/routing.ts";
import type { TargetRoute } from "./rules/session-routes.ts";
import { targetParts } from "./rules/shapes.ts";

/** How long jobs wait for a worker, or for the worker of a session, before a person is told. */
export const noRouteAfterMs = 60_000;

/** Ready jobs whose gates are open and that no connected worker serves, for a minute. */
export function noRouteItems(routing: Routing, lines: readonly WaitingLine[]): LineItem[] {
  const routes = routesOf(routing);
  const unserved = lines.filter((line) => {
    const { route, problem } = routes(line.shape.target);
    // A session that is missing is told as such.
    if (problem !== null || !waitsLong(routing, line)) return false;
    return holdOf(routing, line.shape) === null && !isServed(line.shape, routing.workers, route);
  });
  // Where jobs are counted and how many may run at once says nothing about who could run them.
  const groups = Map.groupBy(unserved, ({ shape: { kind, skills, points, target } }) =>
    JSON.stringify([kind, skills, points, target]),
  );
  return [...groups].flatMap(([key, of]) => {
    const [line] = of;
    return line === undefined ? [] : [noRouteItem(routing, key, line, of)];
  });
}

/** Ready jobs for a session that is archived, gone or was never there; whose worker is away for a minute. */
export function missingSessionItems(
  routing: Routing,
  lines: readonly WaitingLine[],
  /** Who removed sessions that are not there. */
  removed: ReadonlyMap<string, string>,
): LineItem[] {
  const routes = routesOf(routing);
  const lost = lines.filter((line) => {
    const { problem } = routes(line.shape.target);
    return problem !== null && (problem !== "owner" || waitsLong(routing, line));
  });
  return [...Map.groupBy(lost, ({ shape }) => shape.target)].flatMap(([target, of]) => {
    if (target === null) return [];
    const found = routes(target);
    const { type, name } = targetParts(target);
    const { text, command } = targetFix(found);
    const who = type === "session" ? `session ${name}` : `a session of project ${name}`;
    return [
      {
        id: `session-missing ${target}`,
        cause: AttentionCause.sessionMissing,
        severity: AttentionSeverity.critical,
        target,
        summary: `Jobs wait for ${who}: ${missingText(target, found, removed)}`,
        effect: "They wait until a session can take them; nothing else is held up",
        fix: `${text}; or cancel them and submit them for another session`,
        command,
        since: oldestOf(of),
        lines: of,
      },
    ];
  });
}

function noRouteItem(routing: Routing, key: string, line: WaitingLine, of: readonly WaitingLine[]): LineItem {
  const { shape } = line;
  const { kind, skills, points, target } = shape;
  const { route } = routesOf(routing)(target);
  const advice = routeAdvice(shape, routing.workers, route);
  const needs = [
    ...(skills.length === 0 ? [] : [`skills ${listed(skills)}`]),
    ...(points > 1 ? [`${points} points`] : []),
  ];
  const digest = createHash("sha256").update(key).digest("hex").slice(0, 8);
  const [first] = advice.fixes;
  const workerId = target?.startsWith("worker:") ? targetParts(target).name : null;
  return {
    id: `no-route kind:${kind} ${digest}`,
    cause: AttentionCause.noRoute,
    severity: AttentionSeverity.critical,
    target: workerId === null ? `kind:${kind}` : encodeId("worker", workerId),
    summary: `No connected worker can run jobs of kind ${kind}${needs.length === 0 ? "" : ` with ${listed(needs)}`}: ${advice.summary}`,
    effect: "They stay ready and start by themselves as soon as a worker can run them",
    fix: advice.fixes.map(({ text }, index) => (index === 0 ? text : lowered(text))).join("; else "),
    command:
      first?.command == null
        ? `muster job explain ${encodeId("job", line.jobId)}`
        : `muster worker ${first.command.verb} ${encodeId("worker", first.command.workerId)}`,
    since: oldestOf(of),
    lines: of,
  };
}

function missingText(
  target: string,
  { problem, nearest, route }: TargetRoute,
  removed: ReadonlyMap<string, string>,
): string {
  const said = route.kind === "none" ? route.detail : "";
  if (problem !== "missing" || nearest !== null) return said;
  const by = removed.get(target.slice(target.indexOf(":") + 1));
  if (by !== undefined) return `it was removed by ${by}`;
  return target.startsWith("session:") ? "no worker ever published it, or it was removed long ago" : said;
}

function waitsLong({ now }: Routing, { oldestAt }: WaitingLine): boolean {
  return now.getTime() - oldestAt.getTime() >= noRouteAfterMs;
}

function lowered(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}

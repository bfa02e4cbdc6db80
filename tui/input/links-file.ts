import type { LinkedProject, OwnSession, Publication, SessionActivity } from "@muster/worker/published";
import { LineCounter, parseDocument } from "yaml";
import { usageError, type Violation } from "../errors.ts";
import { offsetOf } from "./jobs-file.ts";
import { type Path, type SpecProblem, showPath } from "./message-document.ts";
import { didYouMean } from "./suggest.ts";
import { quote } from "./values.ts";

/**
 * Reads what a worker publishes from YAML or JSON: lists `projects` and `sessions`. Throws one usage error with all
 * problems, each with file, line and column.
 */
export function readLinksFile(text: string, name: string): Publication {
  const lines = new LineCounter();
  const document = parseDocument(text.replace(/^\ufeff/, ""), { lineCounter: lines, prettyErrors: false });
  const placeOf = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${name}:${line}:${col}`;
  };
  const violations: Violation[] = document.errors.map((error) => ({
    field: placeOf(error.pos[0]),
    message: `is not YAML: ${error.message}`,
  }));
  const problems: SpecProblem[] = [];
  const publication = violations.length > 0 ? nothing : readDocument(plain(document, problems), problems);
  for (const { path, message, isKey } of problems) {
    const where = showPath(path);
    violations.push({
      field: placeOf(offsetOf(document, path, isKey)),
      message: where === "" ? message : `${where}: ${message}`,
    });
  }
  if (violations.length === 0) return publication;
  const count = violations.length === 1 ? "a problem" : `${violations.length} problems`;
  const shown = violations.slice(0, maxShown);
  const more = violations.length - shown.length;
  throw usageError(
    `${name} has ${count}`,
    "Correct the file. Its form is described in: muster worker run --help",
    more > 0 ? [...shown, { field: "", message: `and ${more} more` }] : shown,
  );
}

const nothing: Publication = { linkedProjects: [], sessions: [] };
const maxShown = 20;
const projectForm = /^[a-zA-Z0-9._/-]{1,200}$/;
const states: readonly SessionActivity[] = ["idle", "busy", "ended"];

function plain(document: ReturnType<typeof parseDocument>, problems: SpecProblem[]): unknown {
  try {
    return document.toJS() ?? {};
  } catch (cause) {
    // An alias without an anchor, or so many of them that the document would explode.
    problems.push({
      path: [],
      message: cause instanceof Error ? cause.message : String(cause),
      isKey: false,
    });
    return {};
  }
}

function readDocument(document: unknown, problems: SpecProblem[]): Publication {
  const top = new Entry(document, [], problems);
  const linkedProjects = top.list("projects").map(readProject);
  const sessions = top.list("sessions").map(readSession);
  top.end();
  refuseDoubles(
    problems,
    "projects",
    "project",
    linkedProjects.map((one) => one.project),
  );
  refuseDoubles(
    problems,
    "sessions",
    "id",
    sessions.map((one) => one.id),
  );
  return { linkedProjects, sessions };
}

function readProject(entry: Entry): LinkedProject {
  const project = {
    project: entry.project() ?? entry.missing("project"),
    root: entry.text("root") ?? entry.missing("root"),
    ...given("remoteUrl", entry.text("remoteUrl")),
    ...given("linkedBy", entry.text("linkedBy")),
    ...given("linkedAt", entry.time("linkedAt")),
  };
  entry.end();
  return project;
}

function readSession(entry: Entry): OwnSession {
  const session = {
    id: entry.text("id", 200) ?? entry.missing("id"),
    ...given("label", entry.text("label")),
    ...given("agent", entry.text("agent")),
    ...given("agentSessionId", entry.text("agentSessionId", 200)),
    ...given("state", entry.word("state", states)),
    ...given("role", entry.text("role")),
    ...given("terminalTarget", entry.text("terminalTarget")),
    ...given("activeAt", entry.time("activeAt")),
    ...given("archived", entry.flag("archived")),
    ...given("primary", entry.flag("primary")),
    ...given("project", entry.project()),
  };
  if (session.primary === true && session.project === undefined) {
    entry.wrong("primary", "needs a project whose first choice it is");
  }
  entry.end();
  return session;
}

/** One mapping of the file; what was read of it is known, and the rest is not. */
class Entry {
  readonly #fields: Readonly<Record<string, unknown>>;
  readonly #path: Path;
  readonly #problems: SpecProblem[];
  readonly #known = new Set<string>();

  constructor(value: unknown, path: Path, problems: SpecProblem[]) {
    this.#path = path;
    this.#problems = problems;
    const isMapping = typeof value === "object" && value !== null && !Array.isArray(value);
    if (!isMapping) problems.push({ path, message: "must be a mapping of fields", isKey: false });
    this.#fields = isMapping ? { ...value } : {};
  }

  list(name: string): Entry[] {
    const value = this.#take(name) ?? [];
    if (!Array.isArray(value)) {
      this.wrong(name, "must be a list");
      return [];
    }
    return value.map((one: unknown, index) => new Entry(one, [...this.#path, name, index], this.#problems));
  }

  text(name: string, most = 500): string | undefined {
    const value = this.#take(name);
    if (value === undefined) return undefined;
    if (typeof value !== "string") this.wrong(name, "must be text: put it between quotes");
    else if (/\p{Cc}/u.test(value)) this.wrong(name, "must not have control characters");
    else if ([...value].length > most) this.wrong(name, `must have at most ${most} characters`);
    else return value;
    return "";
  }

  project(): string | undefined {
    const name = this.text("project");
    if (name === undefined || name === "" || projectForm.test(name)) return name;
    this.wrong("project", "must have 1 to 200 characters of a-z A-Z 0-9 . _ - /");
    return "";
  }

  flag(name: string): boolean | undefined {
    const value = this.#take(name);
    if (value !== undefined && typeof value !== "boolean") this.wrong(name, "must be true or false");
    return typeof value === "boolean" ? value : undefined;
  }

  word<Word extends string>(name: string, words: readonly Word[]): Word | undefined {
    const value = this.#take(name);
    const found = words.find((word) => word === value);
    if (value !== undefined && found === undefined) this.wrong(name, `must be one of ${words.join(", ")}`);
    return found;
  }

  time(name: string): Date | undefined {
    const value = this.#take(name);
    if (value === undefined) return undefined;
    const time = new Date(typeof value === "string" || value instanceof Date ? value : Number.NaN);
    if (!Number.isNaN(time.getTime())) return time;
    this.wrong(name, "must be a time, like 2026-11-22T14:00:00Z");
    return undefined;
  }

  missing(name: string): string {
    this.#problems.push({ path: this.#path, message: `needs ${name}`, isKey: false });
    return "";
  }

  wrong(name: string, message: string): void {
    this.#problems.push({ path: [...this.#path, name], message, isKey: false });
  }

  /** What is left is nothing that a worker publishes. */
  end(): void {
    for (const name of Object.keys(this.#fields)) {
      if (this.#known.has(name)) continue;
      const meant = didYouMean(name, this.#known) ?? `Known are: ${[...this.#known].join(", ")}.`;
      const message = `unknown field ${quote(name)}; ${meant}`;
      this.#problems.push({ path: [...this.#path, name], message, isKey: true });
    }
  }

  #take(name: string): unknown {
    this.#known.add(name);
    return this.#fields[name] ?? undefined;
  }
}

function refuseDoubles(problems: SpecProblem[], list: string, field: string, names: readonly string[]): void {
  const seen = new Set<string>();
  for (const [index, name] of names.entries()) {
    if (name !== "" && seen.has(name)) {
      problems.push({ path: [list, index, field], message: `${quote(name)} is there twice`, isKey: false });
    }
    seen.add(name);
  }
}

function given<Name extends string, Value>(name: Name, value: Value | undefined): { [Key in Name]?: Value } {
  // Safe: an object with the one key `name`; TypeScript widens computed keys to string.
  return (value === undefined ? {} : { [name]: value }) as { [Key in Name]?: Value };
}

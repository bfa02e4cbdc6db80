/** What the values of a term look like. */
export type FilterForm = "word" | "text" | "id" | "pair" | "number" | "duration";

/** A term of a filter: `key:value`, or `key>value` where it compares. */
export interface FilterTerm {
  readonly key: string;
  readonly form: FilterForm;
  /** Known values: all there are of a word, names for some numbers of a number. */
  readonly values: readonly string[];
  /** May be compared by `>`, `>=`, `<` and `<=`. */
  readonly isCompared: boolean;
  /** A `*` at the end matches what begins so, and `*` alone whatever is there. */
  readonly hasPrefixes: boolean;
  /** One line for people. */
  readonly doc: string;
  readonly example: string;
}

/** The words for the states of a job, with the numbers of the states that each stands for. */
export const jobStateWords: Readonly<Record<string, readonly number[]>> = {
  blocked: [1],
  scheduled: [2],
  retry: [2],
  ready: [3],
  queued: [3],
  offered: [4],
  running: [5],
  cancelling: [5],
  parked: [6],
  succeeded: [7],
  cancelled: [8],
  dead: [9],
  live: [1, 2, 3, 4, 5, 6],
  ended: [7, 8, 9],
};

/** The words for the states of a worker, likewise. */
export const workerStateWords: Readonly<Record<string, readonly number[]>> = {
  idle: [1],
  busy: [2],
  draining: [3],
  stale: [4],
  offline: [5],
  disabled: [6],
  quarantined: [7],
  pending: [8],
  attached: [1, 2, 3, 4, 7, 8],
};

/** The names that some priorities have. */
export const priorityNames: Readonly<Record<string, number>> = {
  low: 64,
  normal: 128,
  high: 192,
  critical: 240,
};

/** The terms of a filter of jobs. Other words are looked for in title, kind and external id. */
export const jobFilterTerms: readonly FilterTerm[] = [
  word("state", Object.keys(jobStateWords), "where it stands", "state:running,retry"),
  text("kind", "what sort of work it is", "kind:agent.*"),
  text("queue", "its queue", "queue:default"),
  text("project", "its project", "project:acme/web"),
  text("worker", "name or id of the worker that holds it now", "worker:gpu-1"),
  text("skill", "a skill that it requires", "skill:gpu"),
  pair("label", "a label of it; label:KEY for any value, also written label.KEY:VALUE", "label:team=web"),
  id("batch", "the batch that it was submitted with", "batch:bat_01jd9y3f4k8qkx2m0000000000"),
  id("parent", "the job that submitted it", "parent:job_01jd9y3f4k8qkx2m0000000000"),
  text("external", "the id that its submitter gave it", "external:shot-0412"),
  text("session", "the session that it runs in, or ran in last", "session:s-17"),
  text("pool", "the pool whose quota it uses", "pool:claude"),
  number("priority", Object.keys(priorityNames), "0 to 255, or a name", "priority>=high"),
  number("points", [], "its size", "points>4"),
  number("attempt", [], "the number of its latest attempt", "attempt>=2"),
  {
    ...number("age", [], "time since it was submitted", "age>10m"),
    form: "duration",
  },
  text("error", "text in the error of its last attempt; * for any error", 'error:"out of memory"'),
  text("fingerprint", "the group of its dead letter that nobody has decided on", "fingerprint:*"),
  { ...id("id", "its id, or the beginning of it", "id:job_01jd9y*"), hasPrefixes: true },
];

/** The terms of a filter of workers. Other words are looked for in name, host and id. */
export const workerFilterTerms: readonly FilterTerm[] = [
  word("state", Object.keys(workerStateWords), "what it does", "state:busy,stale"),
  text("name", "its name", "name:gpu-*"),
  text("skill", "a skill that it has", "skill:gpu"),
  text("kind", "a kind that it has a handler for", "kind:agent.*"),
  pair("label", "a label of it; label:KEY for any value, also written label.KEY:VALUE", "label:zone=eu"),
  text("project", "a project that it has a working copy of", "project:acme/web"),
  text("version", "the version of its software", "version:1.4.*"),
  text("host", "its host", "host:rack3-*"),
  text("owner", "whose machine it is", "owner:person:ann*"),
  number("leases", [], "how many leases it holds", "leases>0"),
  { ...id("id", "its id, or the beginning of it", "id:wrk_01jd9y*"), hasPrefixes: true },
];

/** What a filter may hold, in characters and in terms. */
export const filterLimits = { characters: 1_000, terms: 32 } as const;

function word(key: string, values: readonly string[], doc: string, example: string): FilterTerm {
  return { key, form: "word", values, isCompared: false, hasPrefixes: false, doc, example };
}

function text(key: string, doc: string, example: string): FilterTerm {
  return { key, form: "text", values: [], isCompared: false, hasPrefixes: true, doc, example };
}

function pair(key: string, doc: string, example: string): FilterTerm {
  return { key, form: "pair", values: [], isCompared: false, hasPrefixes: true, doc, example };
}

function id(key: string, doc: string, example: string): FilterTerm {
  return { key, form: "id", values: [], isCompared: false, hasPrefixes: false, doc, example };
}

function number(key: string, values: readonly string[], doc: string, example: string): FilterTerm {
  return { key, form: "number", values, isCompared: true, hasPrefixes: false, doc, example };
}

/** How many runs ended. */
export interface EndedCounts {
  readonly succeeded: number;
  readonly cancelled: number;
  readonly dead: number;
}

/** Runs that ended. */
export interface EndedRuns extends EndedCounts {
  readonly name: string;
}

/** Rows, those with the most first. */
export interface DigestList<Row> {
  readonly rows: readonly Row[];
  /** How many are left out. */
  readonly more: number;
}

/** What happened in an org within a window. The sums are of all, also of what the lists leave out. */
export interface Digest {
  readonly ended: EndedCounts;
  /** Pull requests. */
  readonly opened: number;
  readonly merged: number;
  readonly kinds: DigestList<EndedRuns>;
  readonly workers: DigestList<EndedRuns & { readonly owner: string }>;
  readonly dead: DigestList<{ readonly kind: string; readonly cause: string; readonly count: number }>;
  readonly pullRequests: DigestList<{
    readonly project: string;
    /** At GitHub; empty: not known. */
    readonly author: string;
    readonly opened: number;
    readonly merged: number;
  }>;
}

/** Of what, and of when. */
export interface DigestTitle {
  readonly org: string;
  readonly period: "day" | "week";
  readonly zone: string;
  readonly from: Date;
  readonly to: Date;
}

/** An e-mail's subject and its two forms. */
export interface DigestMail {
  readonly subject: string;
  readonly text: string;
  readonly html: string;
}

/** Writes a digest. All names in it are of others: nothing in them is taken for a line, or for HTML. */
export function writeDigest(digest: Digest, title: DigestTitle): DigestMail {
  const when = whenOf(title);
  const { ended: total, opened, merged } = digest;
  const subject = plain(
    `Muster ${title.org}, ${when}: ${total.succeeded} finished, ${total.dead} dead, ${opened} pull requests`,
  );
  const tables = tablesOf(digest);
  const head = `${total.succeeded} jobs finished, ${total.dead} died, ${total.cancelled} were cancelled; ${opened} pull requests were opened, ${merged} merged.`;
  const nothing = tables.length === 0 ? ["Nothing ended in this time."] : [];
  const text = [
    `${plain(title.org)}, ${when} (${plain(title.zone)})`,
    "",
    head,
    ...nothing,
    ...tables.flatMap(({ title: name, rows }) => [
      "",
      `${name}:`,
      ...rows.map((row) => `  ${row.map(plain).join("  ")}`),
    ]),
    "",
  ].join("\n");
  const html = [
    "<!doctype html><html><body style='font-family:sans-serif;color:#222'>",
    `<h2>${inHtml(title.org)}, ${inHtml(when)}</h2><p>${inHtml(head)}</p>`,
    ...nothing.map((line) => `<p>${line}</p>`),
    ...tables.map(
      ({ title: name, rows }) =>
        `<h3>${name}</h3><table cellpadding='4'>${rows
          .map((row) => `<tr>${row.map((cell) => `<td>${inHtml(cell)}</td>`).join("")}</tr>`)
          .join("")}</table>`,
    ),
    `<p style='color:#777'>Times are of ${inHtml(title.zone)}.</p></body></html>`,
  ].join("\n");
  return { subject, text, html };
}

function tablesOf({ kinds, workers, dead, pullRequests }: Digest) {
  const ended = (one: EndedRuns) => [
    `${one.succeeded} finished`,
    `${one.dead} dead`,
    ...(one.cancelled > 0 ? [`${one.cancelled} cancelled`] : []),
  ];
  return [
    { title: "By kind", rows: written(kinds, (one) => [one.name, ...ended(one)]) },
    { title: "Dead", rows: written(dead, (one) => [one.kind, one.cause, String(one.count)]) },
    {
      title: "Who",
      rows: written(workers, (one) => [
        one.owner === "" ? one.name : `${one.name} (${one.owner})`,
        ...ended(one),
      ]),
    },
    {
      title: "Pull requests",
      rows: written(pullRequests, (one) => [
        one.project,
        one.author === "" ? "unknown" : one.author,
        `${one.opened} opened`,
        `${one.merged} merged`,
      ]),
    },
  ].filter(({ rows }) => rows.length > 0);
}

function whenOf({ period, zone, from, to }: DigestTitle): string {
  const day = new Intl.DateTimeFormat("en-CA", { timeZone: zone, dateStyle: "short" });
  const first = day.format(from);
  return period === "day" ? first : `${first} to ${day.format(new Date(to.getTime() - 1))}`;
}

// A list that is cut says so.
function written<Row>({ rows, more }: DigestList<Row>, cellsOf: (row: Row) => string[]): string[][] {
  return [...rows.map(cellsOf), ...(more > 0 ? [[`and ${more} more`]] : [])];
}

/** Without what would end a line, or turn it round. */
function plain(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, " ").slice(0, 200);
}

function inHtml(text: string): string {
  const entities: Readonly<Record<string, string>> = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
    "'": "&#39;",
  };
  return plain(text).replaceAll(/[&<>"']/g, (one) => entities[one] ?? one);
}

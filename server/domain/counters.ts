import { encodeId } from "./ids.ts";

/** What is counted, with what people read about it. */
const counterHelp = {
  muster_refused_frames_total: "Frames of workers that were refused, by frame and reason.",
  muster_lost_leases_total: "Leases taken back from workers (T13).",
  muster_fleet_events_total: "Times that links vanished together, so that expiry waited.",
  muster_gate_corrections_total: "Gates whose use was counted anew and was wrong.",
  muster_quarantines_total: "Workers that were quarantined, by cause.",
  muster_suspects_total: "Links that left a cancel without an answer.",
  muster_mailbox_overflows_total: "Links closed because their worker read too slowly.",
  muster_deferred_hellos_total: "Hellos that were told to wait.",
  muster_schedule_fires_total: "Fire times of schedules, by what became of them.",
  muster_unread_responses_total: "Responses cut off because their caller did not read.",
  muster_turned_away_total: "Connections and requests that were closed for what they did, by why.",
  muster_webhooks_blocked_total:
    "Calls to addresses of users that were refused, because they are not public.",
  muster_alert_deliveries_total: "Messages of alerts that were tried, by what became of them.",
} as const;

/** The name of a counter. */
export type CounterName = keyof typeof counterHelp;

/** Labels of a count. Their values come from closed lists, but that of `org`, whose values are bounded here. */
export type Labels = Readonly<Record<string, string>>;

/** Orgs that have a label of their own; the others share one. */
const mostOrgs = 200;

/** Numbers that only grow, of this process, for whoever watches it. They decide nothing. */
export class Counters {
  readonly #values = new Map<CounterName, Map<string, number>>();
  readonly #orgs = new Set<string>();

  /** Counts. */
  add(name: CounterName, labels: Labels = {}, by = 1): void {
    let series = this.#values.get(name);
    if (!series) {
      series = new Map();
      this.#values.set(name, series);
    }
    const key = labelText(this.#bounded(labels));
    series.set(key, (series.get(key) ?? 0) + by);
  }

  /** Counts for an org. */
  addOf(orgId: string, name: CounterName, labels: Labels = {}, by = 1): void {
    this.add(name, { ...labels, org: encodeId("org", orgId) }, by);
  }

  /** What was counted so far. */
  value(name: CounterName, labels: Labels = {}): number {
    return this.#values.get(name)?.get(labelText(labels)) ?? 0;
  }

  #bounded(labels: Labels): Labels {
    const { org } = labels;
    if (org === undefined || this.#orgs.has(org)) return labels;
    if (this.#orgs.size >= mostOrgs) return { ...labels, org: "other" };
    this.#orgs.add(org);
    return labels;
  }

  /** All of them in the text format of Prometheus, version 0.0.4. */
  text(): string {
    const lines: string[] = [];
    for (const [name, help] of Object.entries(counterHelp)) {
      lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} counter`);
      const series = this.#values.get(counterName(name));
      for (const [labels, value] of series ?? []) lines.push(`${name}${labels} ${value}`);
    }
    return `${lines.join("\n")}\n`;
  }
}

function labelText(labels: Labels): string {
  const pairs = Object.entries(labels).map(([key, value]) => `${key}="${escaped(value)}"`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

function escaped(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}

// Safe: the table above is a literal, so it has no keys beyond those of its type.
function counterName(name: string): CounterName {
  return name as CounterName;
}

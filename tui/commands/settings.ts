import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { Duration } from "@bufbuild/protobuf/wkt";
import {
  GetSettingsResponseSchema,
  type JobSettings,
  JobSettingsSchema,
  PutSettingsResponseSchema,
  type SettingsScopeSchema,
  SettingsService,
} from "@muster/client/v1/settings_service";
import type { Call } from "../call.ts";
import type { Cli, MusterCommand } from "../command.ts";
import { usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { durationOrNoneOption, numberOrNoneOption, wholeOrNoneOption } from "../input/options.ts";
import { durationFromMs } from "../input/values.ts";
import type { Output } from "../output/output.ts";
import { type Cell, layFacts } from "../output/table.ts";
import { durationToMs, showDuration } from "../output/time.ts";

interface ScopeOptions {
  readonly queue?: string;
  readonly kind?: string;
}

interface SetOptions extends ScopeOptions {
  readonly reclaimAfter?: number | "none";
  readonly leaseTtl?: number | "none";
  readonly maxAttempts?: number | "none";
  readonly backoffInitial?: number | "none";
  readonly backoffMax?: number | "none";
  readonly backoffFactor?: number | "none";
}

/** Registers `muster settings`. */
export function registerSettings(cli: Cli): void {
  const settings = cli.program
    .command("settings")
    .description("Read and change what jobs get that say nothing themselves: of the org, a queue or a kind.");
  withScope(settings.command("get"))
    .description(
      "Show what the org sets for its jobs, or one queue, or one kind. What is absent is inherited.",
    )
    .examples("muster settings get", "muster settings get --kind agent.prompt", "muster settings get -o json")
    .action(
      cli.action(async (call, options: ScopeOptions) => {
        const response = await read(call, options);
        call.output.print({
          schema: GetSettingsResponseSchema,
          message: response,
          text: () => settingFacts(options, response.settings, call.output),
          names: () => [nameOf(options)],
        });
        return exitCodes.done;
      }),
    );
  withScope(settings.command("set"))
    .description(
      "Change what jobs get from now on; those that exist keep what they have. What is not given stays.",
    )
    .examples(
      "muster settings set --max-attempts 5",
      "muster settings set --kind agent.prompt --reclaim-after 5m --lease-ttl 12h",
      "muster settings set --queue renders --backoff-initial 30s --backoff-max none",
    )
    .option(
      "--reclaim-after <duration>",
      "how long a silent worker keeps a job, up to 24h",
      durationOrNoneOption,
    )
    .option("--lease-ttl <duration>", "cap of one attempt, 1s to 7d", durationOrNoneOption)
    .option(
      "--max-attempts <number>",
      "failures after which a job is dead, 1 to 100",
      wholeOrNoneOption(1, 100),
    )
    .option("--backoff-initial <duration>", "delay after the first failure, up to 24h", durationOrNoneOption)
    .option("--backoff-max <duration>", "longest delay, up to 7d", durationOrNoneOption)
    .option(
      "--backoff-factor <number>",
      "growth of the delay by failure, 1 to 100",
      numberOrNoneOption(1, 100),
    )
    .notes("none takes a setting away: it is inherited again, from the org, or from the coordinator.")
    .action(cli.action((call, options: SetOptions) => setSettings(call, options)));
}

function withScope(command: MusterCommand): MusterCommand {
  return command
    .option("--queue <name>", "of this queue, which wins over the org")
    .option("--kind <kind>", "of this kind, which wins over both");
}

async function setSettings(call: Call, options: SetOptions): Promise<number> {
  const { reclaimAfter, leaseTtl, maxAttempts, backoffInitial, backoffMax, backoffFactor } = options;
  const given = [reclaimAfter, leaseTtl, maxAttempts, backoffInitial, backoffMax, backoffFactor];
  if (given.every((one) => one === undefined)) {
    throw usageError("give a setting to change", "Like: muster settings set --max-attempts 5");
  }
  const { settings: before } = await read(call, options);
  const request = { scope: scopeOf(options), settings: changed(before, options) };
  const response = await call.client(SettingsService).putSettings(request, call.once());
  call.output.print({
    schema: PutSettingsResponseSchema,
    message: response,
    text: () => settingFacts(options, response.settings, call.output),
    names: () => [nameOf(options)],
  });
  return exitCodes.done;
}

function read(call: Call, options: ScopeOptions) {
  return call.client(SettingsService).getSettings({ scope: scopeOf(options) }, call.once());
}

function scopeOf({ queue, kind }: ScopeOptions): MessageInitShape<typeof SettingsScopeSchema> {
  if (queue !== undefined && kind !== undefined) {
    throw usageError("give --queue or --kind, not both", "Each has settings of its own.");
  }
  if (queue !== undefined) return { scope: { case: "queue", value: queue } };
  if (kind !== undefined) return { scope: { case: "kind", value: kind } };
  return { scope: { case: "org", value: true } };
}

function nameOf({ queue, kind }: ScopeOptions): string {
  if (queue !== undefined) return `queue:${queue}`;
  return kind === undefined ? "org" : `kind:${kind}`;
}

function changed(before: JobSettings | undefined, options: SetOptions): JobSettings {
  const duration = (given: number | "none" | undefined, old: Duration | undefined) =>
    given === undefined ? old : given === "none" ? undefined : durationFromMs(given);
  const number = (given: number | "none" | undefined, old: number | undefined) =>
    given === "none" ? undefined : (given ?? old);
  const retry = {
    maxAttempts: number(options.maxAttempts, before?.retry?.maxAttempts),
    backoffInitial: duration(options.backoffInitial, before?.retry?.backoffInitial),
    backoffMax: duration(options.backoffMax, before?.retry?.backoffMax),
    backoffFactor: number(options.backoffFactor, before?.retry?.backoffFactor),
  };
  return create(JobSettingsSchema, {
    ...present({
      reclaimAfter: duration(options.reclaimAfter, before?.reclaimAfter),
      leaseTtl: duration(options.leaseTtl, before?.leaseTtl),
    }),
    retry: present(retry),
  });
}

function settingFacts(options: ScopeOptions, settings: JobSettings | undefined, output: Output): string[] {
  const inherited: Cell = { text: "inherited", style: "dim" };
  const duration = (value: Duration | undefined): Cell =>
    value === undefined ? inherited : showDuration(durationToMs(value));
  const number = (value: number | undefined): Cell => (value === undefined ? inherited : String(value));
  const { retry } = settings ?? {};
  return layFacts(
    [
      ["settings of", nameOf(options)],
      ["reclaim after", duration(settings?.reclaimAfter)],
      ["lease ttl", duration(settings?.leaseTtl)],
      ["max attempts", number(retry?.maxAttempts)],
      ["backoff initial", duration(retry?.backoffInitial)],
      ["backoff max", duration(retry?.backoffMax)],
      ["backoff factor", number(retry?.backoffFactor)],
    ],
    output.layout,
  );
}

// The same without what is not there: an absent field is inherited.
function present<Values extends object>(
  values: Values,
): { [Name in keyof Values]?: NonNullable<Values[Name]> } {
  // Safe: only names and values of `values` are in it.
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [Name in keyof Values]?: NonNullable<Values[Name]>;
  };
}

/*
 * Loaded with `--import`: this process's calendar is wrong by CLOCK_AHEAD_MS. Timers, and the monotonic clock, are
 * not: a calendar is all that a wrong clock can get wrong.
 */
const aheadMs = Number(process.env["CLOCK_AHEAD_MS"] ?? "0");
const RightDate = Date;

globalThis.Date = new Proxy(RightDate, {
  construct: (target, values, self) =>
    Reflect.construct(target, values.length === 0 ? [RightDate.now() + aheadMs] : values, self),
  apply: () => new RightDate(RightDate.now() + aheadMs).toString(),
  get: (target, name) => (name === "now" ? () => RightDate.now() + aheadMs : Reflect.get(target, name)),
});

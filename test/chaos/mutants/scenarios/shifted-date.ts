// Loaded with --import: the clock of the process is MUSTER_TEST_CLOCK_AHEAD_MS ahead, whoever asks it.
const aheadMs = Number(process.env["MUSTER_TEST_CLOCK_AHEAD_MS"] ?? 0);
const realNow = Date.now;

globalThis.Date = new Proxy(Date, {
  construct: (target, given, newTarget) =>
    Reflect.construct(target, given.length === 0 ? [realNow() + aheadMs] : given, newTarget),
  apply: (target) => new target(realNow() + aheadMs).toString(),
  get: (target, name, receiver) =>
    name === "now" ? () => realNow() + aheadMs : Reflect.get(target, name, receiver),
});

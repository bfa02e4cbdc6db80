/** Milliseconds of the clock that all processes of a machine share; it never steps. Only differences mean anything. */
export function sharedMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

import { round } from "./figures.ts";
import { musterSystem } from "./muster.ts";
import { measureSustained, type SustainedOptions } from "./sustained.ts";
import type { Environment } from "./system.ts";

/** What a second coordinator costs where the first one had the whole machine. */
export interface TwoCoordinatorsResult {
  readonly onePerSecond: number;
  readonly twoPerSecond: number;
  readonly ratio: number;
}

/** The sustained rate with one coordinator, and with two that share the same workers. */
export async function measureTwoCoordinators(
  environment: Environment,
  options: SustainedOptions,
): Promise<TwoCoordinatorsResult> {
  const rateWith = async (coordinators: number) => {
    const fleet = { ...environment.fleet, coordinators };
    return (await measureSustained({ ...environment, fleet }, musterSystem, options)).jobsPerSecond;
  };
  const one = await rateWith(1);
  const two = await rateWith(2);
  return { onePerSecond: one, twoPerSecond: two, ratio: round(two / one, 3) };
}

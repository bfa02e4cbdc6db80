import { PerformanceObserver } from "node:perf_hooks";
import { getHeapSpaceStatistics, setFlagsFromString } from "node:v8";

/** What V8 may keep for new objects, in bytes. Frames are garbage at once, and it would let 128 MiB of them pile up. */
const mostBytes = 8 * 1_048_576;

/**
 * Keeps the memory of a process that draws for hours small: V8 does not enlarge its space for new objects until the
 * function that this answers is called (modules are loaded meanwhile), and from 8 MiB on no more. Its own limit can be
 * set on Node's command line alone; how fast the space grows is read each time. Where a V8 knows no such flag, nothing
 * changes.
 */
export function limitYoungSpace(): () => void {
  setGrowth(1);
  return () => {
    setGrowth(2);
    const observer = new PerformanceObserver(() => {
      const space = getHeapSpaceStatistics().find(({ space_name }) => space_name === "new_space");
      if (space === undefined || space.space_size < mostBytes) return;
      setGrowth(1);
      observer.disconnect();
    });
    observer.observe({ entryTypes: ["gc"] });
  };
}

function setGrowth(factor: number): void {
  setFlagsFromString(`--semi-space-growth-factor=${factor}`);
}

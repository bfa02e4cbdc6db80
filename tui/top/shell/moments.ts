import { type Timestamp, timestampMs } from "@bufbuild/protobuf/wkt";
import { showAge, showClock, showTime } from "../../output/time.ts";
import type { ScreenFrame } from "./screen.ts";

/** A time as the user wants it: how long ago, the time of day here, or RFC 3339; `-` for none. */
export function showMoment(time: Timestamp | undefined, frame: Pick<ScreenFrame, "nowMs" | "time">): string {
  if (time === undefined) return "-";
  switch (frame.time) {
    case "relative":
      return showAge(time, frame.nowMs);
    case "clock":
      return showClock(timestampMs(time));
    case "iso":
      return showTime(time).replace(/\.\d+Z$/, "Z");
  }
}

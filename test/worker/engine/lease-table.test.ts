import { create } from "@bufbuild/protobuf";
import { LeaseRefSchema } from "@muster/client/v1/job_service";
import { OfferedLeaseSchema } from "@muster/client/v1/link";
import { describe, expect, test } from "vitest";
import { HeldLease } from "../../../worker/engine/held-lease.ts";
import { LeaseTable } from "../../../worker/engine/lease-table.ts";
import { ManualClock } from "../../support/worker-clock.ts";

const held = () => new HeldLease(create(LeaseRefSchema), create(OfferedLeaseSchema), new ManualClock());

describe("a lease table", () => {
  test("knows a lease that was held, and one that was declined, and none else", () => {
    const table = new LeaseTable(1);
    table.set("held", held());
    expect(table.hasEnded("held")).toBe(false);
    table.delete("held");
    table.delete("never held");
    table.remember("declined");
    expect(["held", "declined", "never held"].map((id) => table.hasEnded(id))).toEqual([true, true, false]);
  });

  test.each([
    [1, 256],
    [10_000, 20_000],
  ])("with %i slots remembers at least the last %i that ended, and at most twice as many", (slots, count) => {
    const table = new LeaseTable(slots);
    const ended = Array.from({ length: 5 * count }, (_, index) => `lease ${index}`);
    for (const [index, id] of ended.entries()) {
      table.remember(id);
      const last = ended[Math.max(0, index - count + 1)] ?? "";
      if (!table.hasEnded(last)) expect.unreachable(`${last} was forgotten at ${index}`);
    }
    expect(ended.filter((id) => table.hasEnded(id)).length).toBeLessThanOrEqual(2 * count);
  });
});

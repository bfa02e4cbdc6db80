import { ProjectSchema } from "@muster/client/v1/project_service";
import { QueueLimitsSchema } from "@muster/client/v1/queue_service";
import { describe, expect, test } from "vitest";
import { limitViolations } from "../../../server/domain/rules/limits.ts";
import { projectRule, repositoryRule, slugRule } from "../../../server/domain/rules/texts.ts";
import { outOfBounds, projectForm, slugForm } from "../../../tui/apply/bounds.ts";
import { documentsSchema } from "../../../tui/apply/json-schema.ts";
import { resources } from "../../../tui/apply/resources.ts";

describe("the bounds of documents", () => {
  test.each([
    ...[-4, 0, 1, 1_000_000, 1_000_001].map((running) => ({ running })),
    ...[0, 1, 1_000_000, 1_000_001].map((jobs) => ({ startRate: { jobs, per: "60.000s" } })),
    ...["0.999s", "1.000s", "86400.000s", "86400.001s"].map((per) => ({ startRate: { jobs: 1, per } })),
    { running: 0, startRate: { jobs: 0, per: "0.000s" } },
    {},
  ])("are those of the server for limits: %j", (spec: Limits) => {
    const { running = null, startRate } = spec;
    const rate = startRate && { jobs: startRate.jobs, periodMs: Number.parseFloat(startRate.per) * 1_000 };
    const refused = limitViolations({ running, startRate: rate ?? null });
    expect(
      outOfBounds(QueueLimitsSchema, spec).map(({ path, message }) => ({
        field: `limits.${path.join(".")}`,
        message,
      })),
    ).toEqual(refused);
  });

  test("are those of the server for names and repositories", () => {
    const names = [
      "",
      "a",
      "A",
      "a/b",
      "a b",
      "a.b_c-9",
      "a/b/c",
      "ä",
      "a/",
      "x".repeat(100),
      "x".repeat(101),
    ];
    for (const name of [...names, `${"x".repeat(99)}/${"y".repeat(101)}`, "x/y\n"]) {
      expect([name, slugForm.pattern.test(name)]).toEqual([name, slugRule.form.test(name)]);
      expect([name, projectForm.pattern.test(name)]).toEqual([name, projectRule.form.test(name)]);
      // An empty one is none.
      const isRepository = outOfBounds(ProjectSchema, { repository: name }).length === 0;
      expect([name, isRepository]).toEqual([name, name === "" || repositoryRule.form.test(name)]);
    }
    expect(slugForm.words).toBe(slugRule.words);
    expect(projectForm.words).toBe(projectRule.words);
  });

  test("are in the schema for editors", () => {
    const schema = JSON.parse(JSON.stringify(documentsSchema(resources)));
    const spec = (kind: string) => {
      const found = schema.oneOf.find(({ title }: { title: string }) => title === kind);
      return found.properties;
    };
    const count = { type: "integer", minimum: 1, maximum: 1_000_000 };
    for (const kind of ["queue", "kind", "pool"]) {
      expect(spec(kind).name).toMatchObject({ pattern: "^[a-z0-9._-]{1,100}$" });
      expect(spec(kind).spec.properties.running).toEqual(count);
    }
    expect(schema.$defs.StartRate).toMatchObject({
      required: ["jobs", "per"],
      properties: { jobs: count, per: { type: "string", description: "1 s to 24 h" } },
    });
    expect(spec("project").name).toMatchObject({ pattern: "^[a-zA-Z0-9._/-]{1,200}$" });
    expect(spec("project").spec.properties.maxOpenPrs).toMatchObject({ minimum: 1, maximum: 10_000 });
    expect(spec("project").spec.properties.repository.pattern).toContain("{1,99}");
  });
});

// As readMessage makes it of a file.
type Limits = { running?: number; startRate?: { jobs: number; per: string } };

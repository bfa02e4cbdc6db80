import { readError } from "@muster/client/errors";
import { createMusterClient } from "@muster/client/node";
import { KeyService } from "@muster/client/v1/key_service";
import { ParameterType, TemplateService } from "@muster/client/v1/template_service";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startTestServer, type TestServer } from "../support/coordinator.ts";

let muster: TestServer;
beforeAll(async () => {
  muster = await startTestServer();
});
afterAll(() => muster?.close());

const templates = () => muster.client(TemplateService);
const refused = (call: Promise<unknown>) =>
  call.then(
    () => [],
    (error: unknown) =>
      (readError(error).detail?.violations ?? []).map(({ field, message }) => `${field} ${message}`),
  );

describe("a template", () => {
  test("is made, left alone when it is said again, replaced, and deleted; each with its audit row", async () => {
    const template = { name: "life", version: "1", job: { kind: "nobody" } };
    const made = await templates().putTemplate({ template });
    expect([made.created, made.changed]).toEqual([true, true]);
    const again = await templates().putTemplate({ template });
    expect([again.created, again.changed, again.template]).toEqual([false, false, made.template]);
    const other = { ...template, version: "2" };
    const dry = await templates().putTemplate({ template: other, validateOnly: true });
    expect([dry.changed, dry.template?.version]).toEqual([true, "2"]);
    expect((await templates().getTemplate({ name: "life" })).template?.version).toBe("1");
    expect((await templates().putTemplate({ template: other })).changed).toBe(true);
    await expect(templates().putTemplate({ template, createOnly: true })).rejects.toThrow(/name is taken/i);
    await templates().deleteTemplate({ name: "life" });
    await expect(templates().deleteTemplate({ name: "life" })).rejects.toThrow(/no such template/);
    await templates().deleteTemplate({ name: "life", allowMissing: true });
    const rows = await muster.database.admin<{ action: string }[]>`
      select action from muster.audit_log where target = 'life' order by audit_id`;
    expect(rows.map(({ action }) => action)).toEqual([
      ...["template.put", "template.put", "template.put", "template.delete", "template.delete"],
    ]);
  });

  test("has a job that is one, whatever its values", async () => {
    const put = (job: { [key: string]: string | number | string[] }) =>
      refused(
        templates().putTemplate({
          template: { name: "bad", parameters: [{ name: "n", type: ParameterType.INTEGER }], job },
        }),
      );
    expect(await put({ kind: "a", prioritty: 5 })).toEqual([
      "template.job.prioritty is not a field of this request; did you mean priority?",
    ]);
    expect(await put({ kind: "a", priority: "{{n}}", requiredSkills: "gpu" })).toEqual([
      "template.job.requiredSkills must be a list",
    ]);
    await templates().putTemplate({
      template: {
        name: "n",
        parameters: [{ name: "n", type: ParameterType.INTEGER }],
        job: { kind: "a", priority: "{{n}}" },
      },
    });
    const values = { n: { kind: { case: "numberValue" as const, value: 900 } } };
    expect(await refused(templates().renderTemplate({ name: "n", values }))).toEqual([
      "job.priority must be from 0 to 255",
    ]);
    expect(await refused(templates().runTemplate({ name: "n", values }))).toHaveLength(1);
  });

  test("runs once under an idempotency key", async () => {
    await templates().putTemplate({ template: { name: "once", job: { kind: "nobody" } } });
    const first = await templates().runTemplate({ name: "once", idempotencyKey: "k" });
    const second = await templates().runTemplate({ name: "once", idempotencyKey: "k" });
    expect([second.job?.jobId, second.job?.replayed]).toEqual([first.job?.jobId, true]);
  });

  test("is rated by each who knows it, once, and loses its ratings with its end", async () => {
    await templates().putTemplate({ template: { name: "rated", job: { kind: "nobody" } } });
    const { text: key } = await muster
      .client(KeyService)
      .createKey({ name: "other", scopes: ["submit", "read"] });
    const others = createMusterClient(TemplateService, { address: muster.server.apiAddress, key });
    await templates().rateTemplate({ name: "rated", stars: 1 });
    await templates().rateTemplate({ name: "rated", stars: 5, note: "better than I thought" });
    const { template } = await others.rateTemplate({ name: "rated", stars: 2 });
    expect([template?.stars, template?.ratings]).toEqual([3.5, 2]);
    const { ratings } = await templates().getTemplate({ name: "rated" });
    expect(ratings.map(({ stars }) => stars).sort()).toEqual([2, 5]);
    expect(await refused(templates().rateTemplate({ name: "rated", stars: 6 }))).toHaveLength(1);
    await others.rateTemplate({ name: "rated", stars: 0 });
    expect((await templates().getTemplate({ name: "rated" })).template?.ratings).toBe(1);
    await templates().deleteTemplate({ name: "rated" });
    await templates().putTemplate({ template: { name: "rated", job: { kind: "nobody" } } });
    expect((await templates().getTemplate({ name: "rated" })).template?.ratings).toBe(0);
  });

  test("is found by its name and its description, page by page", async () => {
    for (const name of ["list-a", "list-b", "list-c"]) {
      await templates().putTemplate({
        template: { name, description: `About ${name} and IMAGES`, job: { kind: "a" } },
      });
    }
    const first = await templates().listTemplates({ text: "images", pageSize: 2 });
    expect(first.templates.map(({ name, job }) => [name, job])).toEqual([
      ["list-a", undefined],
      ["list-b", undefined],
    ]);
    const rest = await templates().listTemplates({
      text: "images",
      pageSize: 2,
      pageToken: first.nextPageToken,
    });
    expect([rest.templates.map(({ name }) => name), rest.nextPageToken]).toEqual([["list-c"], ""]);
    await expect(templates().listTemplates({ text: "x", pageToken: first.nextPageToken })).rejects.toThrow(
      /page token/,
    );
  });
});

import { fromJson, type JsonObject, type JsonValue, type MessageInitShape, toJson } from "@bufbuild/protobuf";
import { type Value, ValueSchema } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import { type JobSpec, JobSpecSchema } from "@muster/client/v1/job";
import {
  ParameterType,
  type Template,
  type TemplateSchema,
  type TemplateService,
} from "@muster/client/v1/template_service";
import { submitJob } from "../domain/jobs.ts";
import type { JobRequest } from "../domain/rules/job-spec.ts";
import {
  type Json,
  type ParameterType as ParameterTypeName,
  renderJob,
  sampleValues,
  templateViolations,
} from "../domain/rules/templates.ts";
import {
  deleteTemplate,
  getTemplate,
  listTemplates,
  putTemplate,
  rateTemplate,
  renderTemplate,
  type TemplateRequest,
  type TemplateView,
} from "../domain/templates.ts";
import { callerOf } from "./auth.ts";
import { checkDependencies } from "./dependencies.ts";
import { type JobLimits, readJobSpec } from "./job-specs.ts";
import { jsonViolations } from "./json-violations.ts";
import {
  orNull,
  type Problems,
  pageOf,
  readIdempotencyKey,
  refuseProblems,
  required,
  writeId,
  writeTime,
} from "./messages.ts";
import type { ApiParts } from "./parts.ts";

/** `muster.v1.TemplateService`. */
export function templateService({ coordinator: c }: ApiParts): ServiceImpl<typeof TemplateService> {
  return {
    async putTemplate(request, context) {
      const problems: Problems = [];
      if (!required(problems, "template", request.template)) refuseProblems(problems);
      const template = readTemplate(problems, request.template, c.config);
      refuseProblems(problems);
      const put = {
        template,
        expectedDigest: orNull(request.expectedDigest),
        isCreateOnly: request.createOnly,
        isDryRun: request.validateOnly,
        reason: request.reason,
      };
      const { template: view, isNew, isChanged } = await putTemplate(c, callerOf(context), put);
      return { template: templateMessage(view), created: isNew, changed: isChanged };
    },

    async getTemplate({ name }, context) {
      const { template, ratings } = await getTemplate(c, callerOf(context), name);
      const said = ratings.map(({ ratedAt, ...rating }) => ({ ...rating, updateTime: writeTime(ratedAt) }));
      return { template: templateMessage(template), ratings: said };
    },

    async listTemplates({ text, ...request }, context) {
      const { items, nextPageToken } = await listTemplates(c, callerOf(context), {
        ...pageOf(request),
        text,
      });
      return { templates: items.map(withoutJob), nextPageToken };
    },

    async renderTemplate(request, context) {
      const problems: Problems = [];
      const values = readValues(problems, request.values);
      const template = request.template && readTemplate(problems, request.template, c.config);
      refuseProblems(problems);
      const of = template === undefined || request.name !== "" ? { name: request.name } : { template };
      const { job, digest } = await renderTemplate(c, callerOf(context), of, values);
      readRendered(problems, job, c.config);
      refuseProblems(problems);
      return { job: asJsonObject(job), digest };
    },

    async runTemplate(request, context) {
      const problems: Problems = [];
      const values = readValues(problems, request.values);
      const idempotencyKey = readIdempotencyKey(problems, request.idempotencyKey);
      refuseProblems(problems);
      const caller = callerOf(context);
      const expected = orNull(request.digest);
      const { job, digest } = await renderTemplate(c, caller, { name: request.name }, values, expected);
      const asked = readRendered(problems, job, c.config);
      if (asked !== null) checkDependencies(problems, [asked], () => "job");
      refuseProblems(problems);
      if (asked === null) throw new Error("a job without problems is a job");
      const answer = await submitJob(c, caller, { job: asked, idempotencyKey, parent: null });
      return { job: { jobId: writeId("job", answer.jobId), replayed: answer.isReplayed }, digest };
    },

    async rateTemplate({ name, stars, note }, context) {
      return { template: withoutJob(await rateTemplate(c, callerOf(context), { name, stars, note })) };
    },

    async deleteTemplate({ name, allowMissing, reason }, context) {
      await deleteTemplate(c, callerOf(context), { name, isMissingAllowed: allowMissing, reason });
      return {};
    },
  };
}

const typeNames: Readonly<Record<ParameterType, ParameterTypeName>> = {
  [ParameterType.UNSPECIFIED]: "string",
  [ParameterType.STRING]: "string",
  [ParameterType.TEXT]: "text",
  [ParameterType.INTEGER]: "integer",
  [ParameterType.NUMBER]: "number",
  [ParameterType.BOOLEAN]: "boolean",
};
const typeNumbers: Readonly<Record<ParameterTypeName, ParameterType>> = {
  string: ParameterType.STRING,
  text: ParameterType.TEXT,
  integer: ParameterType.INTEGER,
  number: ParameterType.NUMBER,
  boolean: ParameterType.BOOLEAN,
};

// Where the template itself is right, a job must come of it: with values that stand for those of a run.
function readTemplate(problems: Problems, message: Template | undefined, limits: JobLimits): TemplateRequest {
  const before = problems.length;
  const template: TemplateRequest = {
    name: message?.name ?? "",
    version: message?.version ?? "",
    description: message?.description ?? "",
    source: message?.source ?? "",
    sourceSha256: message?.sourceSha256 ?? "",
    job: message?.job ?? {},
    parameters: (message?.parameters ?? []).map((parameter, index) => {
      const at = `template.parameters[${index}]`;
      const type = typeNames[parameter.type];
      if (type === undefined) problems.push({ field: `${at}.type`, message: "is not a type" });
      return {
        name: parameter.name,
        type: type ?? "string",
        description: parameter.description,
        isRequired: parameter.required,
        preset: readValue(problems, `${at}.default`, parameter.default),
        choices: parameter.choices.map((one, n) => readValue(problems, `${at}.choices[${n}]`, one)),
      };
    }),
  };
  if (problems.length > before || templateViolations(template).length > 0) return template;
  const spec = readSpec(problems, "template.job", renderJob(template, sampleValues(template.parameters)));
  // What depends on values is judged with those of a run.
  if (spec !== null && template.parameters.length === 0) readJobSpec(problems, "template.job", spec, limits);
  return template;
}

function readRendered(problems: Problems, job: Json, limits: JobLimits): JobRequest | null {
  const spec = readSpec(problems, "job", job);
  return spec === null ? null : readJobSpec(problems, "job", spec, limits);
}

// A job in its JSON form, but for the payload, which is the document itself.
function readSpec(problems: Problems, path: string, job: Json): JobSpec | null {
  const { payload, ...rest } = asJsonObject(job);
  const data = payload === undefined ? {} : { payload: { data: base64(JSON.stringify(payload)) } };
  const json = { ...rest, ...data };
  try {
    return fromJson(JobSpecSchema, json);
  } catch (error) {
    const found = jsonViolations(JobSpecSchema, json);
    const message = error instanceof Error ? error.message : String(error);
    if (found.length === 0) problems.push({ field: path, message: `is not a job: ${message}` });
    problems.push(...found.map((one) => ({ ...one, field: `${path}.${one.field}` })));
    return null;
  }
}

function base64(text: string): string {
  return Buffer.from(text).toString("base64");
}

function readValues(problems: Problems, values: Readonly<Record<string, Value>>): Record<string, Json> {
  const names = Object.keys(values).slice(0, 200);
  return Object.fromEntries(names.map((name) => [name, readValue(problems, `values.${name}`, values[name])]));
}

function readValue(problems: Problems, field: string, value: Value | undefined): Json {
  if (value === undefined) return null;
  try {
    return asJson(toJson(ValueSchema, value));
  } catch {
    // NaN, the infinities, and a value of no kind.
    problems.push({ field, message: "must be a JSON value" });
    return null;
  }
}

// Safe: two names of the same thing, what JSON can say.
function asJson(value: JsonValue): Json {
  return value as Json;
}

function asJsonObject(value: Json): JsonObject {
  return value as JsonObject;
}

function templateMessage(view: TemplateView): MessageInitShape<typeof TemplateSchema> {
  const { createdAt, changedAt, job, parameters, ...rest } = view;
  return {
    ...rest,
    job: asJsonObject(job),
    parameters: parameters.map(({ type, isRequired, preset, choices, ...parameter }) => ({
      ...parameter,
      type: typeNumbers[type],
      required: isRequired,
      ...(preset === null ? {} : { default: fromJson(ValueSchema, preset as JsonValue) }),
      choices: choices.map((choice) => fromJson(ValueSchema, choice as JsonValue)),
    })),
    createTime: writeTime(createdAt),
    updateTime: writeTime(changedAt),
  };
}

function withoutJob(view: TemplateView): MessageInitShape<typeof TemplateSchema> {
  const { job: _, ...message } = templateMessage(view);
  return message;
}

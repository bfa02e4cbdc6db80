import {
  type DescField,
  type DescMessage,
  type DescMethod,
  type DescService,
  isMessage,
  ScalarType,
} from "@bufbuild/protobuf";
import { DurationSchema, TimestampSchema } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import { DomainError } from "../domain/errors.ts";
import { callerKey } from "./auth.ts";
import { enumNames } from "./json-violations.ts";
import { isDuration, isHopeless, isTime, type Problems, refuseProblems } from "./messages.ts";

/** A text of a request at most, in UTF-16 code units. Most fields allow far less, and say so themselves. */
export const maxTextLength = 256 * 1024;

/** Items of a list, and entries of a map, at most. */
export const maxItems = 10_000;

/**
 * The same service, with every request judged before its method sees it: by what the schema says of it, and in one
 * place for every protocol and listener. Refuses, with all paths at once, text that has NUL or is no Unicode, numbers
 * that are none of an enum or not finite, durations and times beyond their range, and texts and lists without bound.
 * What a single field may hold is said by the code that reads it, and told in the same answer. Frames of the worker
 * link are left to the link, which refuses them one by one, and what a stream brings, to its method.
 */
export function checkedService<Service extends DescService>(
  service: Service,
  implementation: ServiceImpl<Service>,
): ServiceImpl<Service> {
  const checked: Record<string, unknown> = {};
  for (const method of service.methods) checked[method.localName] = checkedMethod(method, implementation);
  return asImplementation(checked);
}

/** All that is wrong with a message by its schema; empty when nothing is. */
export function requestProblems(desc: DescMessage, message: object): Problems {
  const problems: Problems = [];
  judge(desc, message, "", problems);
  return problems;
}

type Run = (request: unknown, context: HandlerContext) => unknown;

function checkedMethod(method: DescMethod, implementation: object): unknown {
  const run: unknown = Reflect.get(implementation, method.localName);
  if (!isRun(run)) throw new TypeError(`${method.parent.typeName}/${method.name} has no implementation`);
  const bound: Run = run.bind(implementation);
  const problemsOf = (request: unknown): Problems => {
    if (!isMessage(request)) throw new TypeError("a request is a message");
    return requestProblems(method.input, request);
  };
  switch (method.methodKind) {
    case "unary": {
      const unary: Run = async (request, context) => {
        const problems = problemsOf(request);
        return problems.length === 0
          ? bound(request, context)
          : refuse(problems, async () => bound(request, withoutCaller(context)));
      };
      return unary;
    }
    case "server_streaming": {
      const streaming: Run = (request, context) => {
        const problems = problemsOf(request);
        return problems.length === 0
          ? bound(request, context)
          : failing(problems, () => bound(request, withoutCaller(context)));
      };
      return streaming;
    }
    case "bidi_streaming":
    case "client_streaming":
      return bound;
  }
}

/**
 * Refuses a request by what its schema says, and by what its method says of it: a method reads all of a request
 * before it does anything, and here it cannot, as it is given a caller that nothing can be done for.
 */
async function refuse(problems: Problems, read: () => Promise<unknown>): Promise<never> {
  const own = await read().then(
    () => [],
    (error: unknown) => (error instanceof DomainError ? error.violations : []),
  );
  const told = new Set(own.map(({ field }) => field));
  refuseProblems([...problems.filter(({ field }) => !told.has(field)), ...own]);
  throw new Error("a request with problems was not refused");
}

async function* failing(problems: Problems, read: () => unknown): AsyncGenerator<never> {
  await refuse(problems, async () => {
    for await (const _ of asMessages(read())) break;
  });
}

// Safe: what a method of a streamed answer returns.
function asMessages(answer: unknown): AsyncIterable<unknown> {
  return answer as AsyncIterable<unknown>;
}

class CallerMissing extends Error {}

/** The context of a call that is about to be refused: its caller may be passed on, and not looked at. */
function withoutCaller(context: HandlerContext): HandlerContext {
  const missing = (): never => {
    throw new CallerMissing("the request is refused");
  };
  const caller: object = new Proxy({}, { get: missing, has: missing, ownKeys: missing });
  const values = {
    get: (key: unknown) => (key === callerKey ? caller : missing()),
    set: missing,
    delete: missing,
  };
  return new Proxy(context, {
    get: (target, name) => {
      if (name === "values") return values;
      return name === "signal" ? target.signal : missing();
    },
  });
}

function isRun(value: unknown): value is Run {
  return typeof value === "function";
}

// Safe: every member is the member of the same name of an implementation, called with what it was called with.
function asImplementation<Service extends DescService>(
  checked: Readonly<Record<string, unknown>>,
): ServiceImpl<Service> {
  return checked as ServiceImpl<Service>;
}

type FieldCheck = (message: object, path: string, problems: Problems) => void;

// The schema does not change, and the walk over it is made once: a batch has ten thousand jobs.
const checks = new WeakMap<DescMessage, readonly FieldCheck[]>();

function judge(desc: DescMessage, message: object, path: string, problems: Problems): void {
  if (isHopeless(problems)) return;
  let known = checks.get(desc);
  if (known === undefined) {
    known = desc.fields.map(fieldCheck).filter((check) => check !== null);
    checks.set(desc, known);
  }
  for (const check of known) check(message, path, problems);
}

type ValueCheck = (value: unknown, path: string, problems: Problems) => void;

/** The check of a field, null when any value will do. */
function fieldCheck(field: DescField): FieldCheck | null {
  const check = checkOfKind(field);
  if (check === null) return null;
  const { jsonName, localName, oneof } = field;
  if (oneof === undefined) {
    return (message, path, problems) => {
      const value: unknown = Reflect.get(message, localName);
      if (value !== undefined) check(value, joined(path, jsonName), problems);
    };
  }
  const { localName: group } = oneof;
  return (message, path, problems) => {
    const chosen: unknown = Reflect.get(message, group);
    if (!isChosen(chosen) || chosen.case !== localName) return;
    // Paths are those of the JSON form, which has no name for the group.
    check(chosen.value, joined(path, jsonName), problems);
  };
}

function isChosen(value: unknown): value is { readonly case: string | undefined; readonly value: unknown } {
  return typeof value === "object" && value !== null && "case" in value && "value" in value;
}

function checkOfKind(field: DescField): ValueCheck | null {
  switch (field.fieldKind) {
    case "scalar":
    case "enum":
    case "message":
      return checkOfValue(field);
    case "list": {
      const check = checkOfValue(field);
      return (value, path, problems) => {
        if (!Array.isArray(value)) return;
        if (value.length > maxItems) return tooMany(problems, path, value.length);
        if (check !== null) for (const [n, item] of value.entries()) check(item, `${path}[${n}]`, problems);
      };
    }
    case "map": {
      const check = checkOfValue(field);
      return (value, path, problems) => {
        const entries = Object.entries(Object(value));
        if (entries.length > maxItems) return tooMany(problems, path, entries.length);
        for (const [key, item] of entries) {
          const fault = textFault(key);
          if (fault !== null) problems.push({ field: path, message: `has a key that ${fault}` });
          else if (check !== null) check(item, `${path}["${key}"]`, problems);
        }
      };
    }
  }
}

function checkOfValue(field: DescField): ValueCheck | null {
  if (field.enum !== undefined) {
    const { enum: desc } = field;
    return (value, path, problems) => {
      if (typeof value === "number" && desc.value[value] !== undefined) return;
      problems.push({ field: path, message: `must be one of ${enumNames(desc)}` });
    };
  }
  if (field.message !== undefined) return checkOfMessage(field.message);
  if (field.scalar === ScalarType.STRING) {
    return (value, path, problems) => {
      const fault = typeof value === "string" ? textFault(value) : null;
      if (fault !== null) problems.push({ field: path, message: fault });
    };
  }
  if (field.scalar === ScalarType.DOUBLE || field.scalar === ScalarType.FLOAT) {
    return (value, path, problems) => {
      if (!Number.isFinite(value)) problems.push({ field: path, message: "must be a finite number" });
    };
  }
  return null;
}

function checkOfMessage(desc: DescMessage): ValueCheck | null {
  if (desc.typeName === DurationSchema.typeName) {
    return (value, path, problems) => {
      if (isMessage(value, DurationSchema) && !isDuration(value)) {
        problems.push({ field: path, message: "is not a valid duration" });
      }
    };
  }
  if (desc.typeName === TimestampSchema.typeName) {
    return (value, path, problems) => {
      if (isMessage(value, TimestampSchema) && !isTime(value)) {
        problems.push({ field: path, message: "must be a time from 1970 to 9999" });
      }
    };
  }
  // Other types of Google's hold JSON, which what reads it judges; frames are judged one by one.
  if (desc.typeName.startsWith("google.protobuf.") || desc.file.name === "muster/v1/link") return null;
  return (value, path, problems) => {
    if (typeof value === "object" && value !== null) judge(desc, value, path, problems);
  };
}

function textFault(text: string): string | null {
  if (text.length > maxTextLength) return `must have at most ${maxTextLength} characters`;
  if (!text.isWellFormed()) return "must be well-formed Unicode";
  return text.includes("\0") ? "must not have control characters" : null;
}

function tooMany(problems: Problems, path: string, count: number): void {
  problems.push({ field: path, message: `must have at most ${maxItems} entries, and has ${count}` });
}

function joined(path: string, name: string): string {
  return path === "" ? name : `${path}.${name}`;
}

import {
  create,
  type DescField,
  type DescMessage,
  type DescMethod,
  type JsonValue,
  type Message,
  ScalarType,
  toBinary,
  toJson,
} from "@bufbuild/protobuf";
import type { Random } from "../../chaos/random.ts";
import type { Harvest } from "./harvest.ts";

/** How a request is made: how much of it is nonsense, from 0 to 1. */
export interface Temper {
  readonly hostility: number;
}

/** Makes a message of a descriptor: fields that may be right, and by hostility what nobody should send. */
export function makeMessage(
  desc: DescMessage,
  random: Random,
  harvest: Harvest,
  { hostility }: Temper,
): Message {
  return create(
    desc,
    initOf(desc, { random, harvest, hostility, depth: 0, fullness: random.pick([0.1, 0.3, 0.6, 0.9]) }),
  );
}

/** The message in bytes; one in ten hostile ones is damaged after that. */
export function binaryOf(desc: DescMessage, message: Message, random: Random, temper: Temper): Buffer {
  const bytes = Buffer.from(toBinary(desc, message));
  return random.chance(temper.hostility / 10) ? damaged(bytes, random) : bytes;
}

/** The message as JSON; what JSON cannot say of it is left out, and some hostile ones say what no message does. */
export function jsonOf(desc: DescMessage, message: Message, random: Random, temper: Temper): Buffer {
  let json: JsonValue;
  try {
    json = toJson(desc, message);
  } catch {
    json = {};
  }
  if (!random.chance(temper.hostility / 2)) return Buffer.from(JSON.stringify(json));
  const text = JSON.stringify(json);
  const fields = desc.fields.map(({ jsonName }) => jsonName);
  const name = fields.length === 0 ? "nothing" : random.pick(fields);
  const odd = `{${JSON.stringify(name)}:${random.pick(oddJson)()}${text === "{}" ? "" : `,${text.slice(1)}`}`;
  const whole = odd.endsWith("}") ? odd : `${odd}}`;
  return random.chance(0.1) ? damaged(Buffer.from(whole), random) : Buffer.from(whole);
}

/** Waits are asked for shortly, whatever else a request says: a fuzzer that waits finds nothing. */
export function shortened(method: DescMethod, message: Message): Message {
  for (const field of method.input.fields) {
    const isWait =
      field.message?.typeName === "google.protobuf.Duration" && /^(timeout|wait)$/.test(field.name);
    if (isWait)
      Reflect.set(message, field.localName, {
        $typeName: "google.protobuf.Duration",
        seconds: 0n,
        nanos: 5_000_000,
      });
  }
  return message;
}

interface Making {
  readonly random: Random;
  readonly harvest: Harvest;
  readonly hostility: number;
  readonly depth: number;
  /** How likely a field is set. */
  readonly fullness: number;
}

function initOf(desc: DescMessage, making: Making): Record<string, unknown> {
  const { random, depth } = making;
  const wellKnown = wellKnownOf(desc.typeName, making);
  if (wellKnown !== undefined) return wellKnown;
  const init: Record<string, unknown> = {};
  // Deep enough to reach every field, shallow enough to end.
  if (depth > 6) return init;
  for (const member of desc.members) {
    if (!random.chance(isNaming(member) ? 0.95 : making.fullness)) continue;
    if (member.kind === "oneof") {
      const field = random.pick(member.fields);
      init[member.localName] = { case: field.localName, value: singleOf(field, making) };
    } else if (member.fieldKind === "list") {
      const most = random.chance(making.hostility / 20) ? 300 : 3;
      init[member.localName] = Array.from({ length: random.int(0, most) }, () => singleOf(member, making));
    } else if (member.fieldKind === "map") {
      const entries = Array.from({ length: random.int(0, 3) }, () => [
        member.mapKey === ScalarType.STRING ? textOf("key", making) : "1",
        singleOf(member, making),
      ]);
      init[member.localName] = Object.fromEntries(entries);
    } else init[member.localName] = singleOf(member, making);
  }
  return init;
}

// Without these nearly every request is refused at its first look.
function isNaming(member: DescMessage["members"][number]): boolean {
  return (
    member.kind === "field" && /^(.*_id|name|kind|job|spec|project|queue|lease|result_id)$/.test(member.name)
  );
}

function singleOf(field: DescField, making: Making): unknown {
  if (field.message !== undefined) return initOf(field.message, { ...making, depth: making.depth + 1 });
  if (field.enum !== undefined) {
    const { random, hostility } = making;
    if (random.chance(hostility / 2)) return random.pick([-1, 99, 2 ** 31 - 1, -(2 ** 31)]);
    return random.pick(field.enum.values).number;
  }
  return scalarOf(field, making);
}

function scalarOf(field: DescField, making: Making): unknown {
  const { random, hostility } = making;
  const isHostile = random.chance(hostility);
  switch (field.scalar) {
    case ScalarType.STRING:
      return textOf(field.name, making);
    case ScalarType.BOOL:
      return random.chance(0.5);
    case ScalarType.BYTES:
      return isHostile
        ? random.pick([
            Buffer.alloc(0),
            Buffer.from([0, 255, 192, 128]),
            Buffer.from('"\\u0000\\ud800"'),
            Buffer.alloc(2_000, 91),
          ])
        : Buffer.from(random.pick(['{"a":1}', "null", '"text"', "[1,2,3]", '{"command":["true"]}']));
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return isHostile
        ? random.pick([Number.NaN, Number.POSITIVE_INFINITY, -0, 1e308, -1e-320])
        : random.next() * 10;
    case ScalarType.INT64:
    case ScalarType.SINT64:
    case ScalarType.SFIXED64:
      return isHostile
        ? random.pick([-1n, 2n ** 63n - 1n, -(2n ** 63n), 2n ** 53n])
        : BigInt(random.int(0, 20));
    case ScalarType.UINT64:
    case ScalarType.FIXED64:
      return isHostile ? random.pick([2n ** 64n - 1n, 2n ** 53n, 0n]) : BigInt(random.int(0, 20));
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
      return isHostile ? random.pick([2 ** 32 - 1, 0, 2 ** 31]) : random.int(0, 20);
    default:
      return isHostile ? random.pick([-1, 2 ** 31 - 1, -(2 ** 31), 0, 1_000_001]) : random.int(0, 20);
  }
}

function textOf(name: string, { random, harvest, hostility }: Making): string {
  if (random.chance(hostility)) return random.pick(hostileTexts);
  const harvested = harvest.textFor(name, random);
  return harvested !== undefined && random.chance(0.8) ? harvested : random.pick(wordsFor(name));
}

function wordsFor(name: string): readonly string[] {
  if (/filter/.test(name)) return filters;
  if (/boot_id|uuid/.test(name)) return uuids;
  if (/token/.test(name)) return ["", "1.1.0", "1.1.99999", "0.0.0"];
  if (/url/.test(name))
    return ["https://github.com/acme/web/pull/1", "https://github.com/acme/web", "ftp://a"];
  if (/kind/.test(name)) return ["echo", "shell.run", "agent.prompt"];
  if (/zone/.test(name)) return ["UTC", "Europe/Berlin", "Nowhere/At/All"];
  if (/cron/.test(name)) return ["* * * * *", "@hourly", "30 2 * * *"];
  return words;
}

function wellKnownOf(typeName: string, { random, hostility }: Making): Record<string, unknown> | undefined {
  const isHostile = random.chance(hostility);
  switch (typeName) {
    case "google.protobuf.Duration":
      return isHostile
        ? random.pick([
            { seconds: -1n, nanos: 5 },
            { seconds: 2n ** 63n - 1n, nanos: 0 },
            { seconds: 0n, nanos: 2_000_000_000 },
            { seconds: -(2n ** 63n), nanos: -1 },
          ])
        : { seconds: BigInt(random.int(0, 120)), nanos: 0 };
    case "google.protobuf.Timestamp":
      return isHostile
        ? random.pick([
            { seconds: -62_135_596_801n, nanos: 0 },
            { seconds: 253_402_300_800n, nanos: 0 },
            { seconds: 2n ** 63n - 1n, nanos: 999_999_999 },
            { seconds: 0n, nanos: -5 },
          ])
        : { seconds: BigInt(Math.floor(Date.now() / 1_000) + random.int(-100, 100)), nanos: 0 };
    case "google.protobuf.Value":
      return { kind: valueKind(random, isHostile, 0) };
    case "google.protobuf.FieldMask":
      return { paths: [random.pick(["a", "priority", "a.b", "\0", ""])] };
    default:
      return undefined;
  }
}

function valueKind(random: Random, isHostile: boolean, depth: number): unknown {
  if (isHostile && depth < 200 && random.chance(0.98)) {
    return { case: "listValue", value: { values: [{ kind: valueKind(random, true, depth + 1) }] } };
  }
  if (isHostile) {
    return random.pick([
      { case: "numberValue", value: Number.NaN },
      { case: "stringValue", value: "\0" },
      { case: undefined },
    ]);
  }
  return random.pick([
    { case: "stringValue", value: "text" },
    { case: "numberValue", value: 5 },
    { case: "boolValue", value: true },
    { case: "nullValue", value: 0 },
    { case: "structValue", value: { fields: { a: { kind: { case: "numberValue", value: 1 } } } } },
  ]);
}

function damaged(bytes: Buffer, random: Random): Buffer {
  if (bytes.length === 0) return Buffer.from([random.int(0, 255), random.int(0, 255)]);
  const copy = Buffer.from(bytes);
  switch (random.int(0, 3)) {
    case 0:
      return copy.subarray(0, random.int(0, copy.length - 1));
    case 1:
      return Buffer.concat([copy, Buffer.from([random.int(0, 255), 0xff, 0xff, 0xff])]);
    default:
      for (let flips = random.int(1, 5); flips > 0; flips--)
        copy[random.int(0, copy.length - 1)] = random.int(0, 255);
      return copy;
  }
}

const words = ["", "default", "a", "web", "acme/web", "gpu", "echo", "low", "p1", "x".repeat(100)];
const uuids = ["0198a000-0000-7000-8000-000000000001", "11111111-2222-4333-8444-555555555555"];
const filters = [
  "",
  "state:ready",
  "kind:echo age>10m",
  "queue:default,low priority>=5",
  "-state:dead label.a:b",
  "text",
  '"a b" OR c',
  "age>99999999999d",
  `${"(".repeat(500)}`,
  `${"a:".repeat(300)}`,
  `/${"(a+)+".repeat(20)}$/`,
];
const hostileTexts = [
  "",
  "\0",
  "a\0b",
  "\u001b[2J\u001b]52;c;AAAA\u0007",
  "%00",
  "../../etc/passwd",
  "';drop table muster.jobs;--",
  "$1",
  "x".repeat(300),
  "x".repeat(5_000),
  "é🙂\u202e\u200b",
  "1e309",
  "-1",
  "NaN",
  "(a+)+$",
  `${"a".repeat(200)}!`,
  "@every 1ns",
  "*/0 * * * *",
  "__proto__",
  "constructor",
  "job_00000000000000000000000000",
  "job_zzzzzzzzzzzzzzzzzzzzzzzzzz",
  "wrk_7zzzzzzzzzzzzzzzzzzzzzzzzz",
  "9".repeat(60),
  "1.1.9999999999999999999999999",
  "\ufffe\uffff",
  "https://[::1",
  "javascript:alert(1)",
];
const oddJson: readonly (() => string)[] = [
  () => "null",
  () => "1e400",
  () => "-0.1",
  () => '"\\ud800"',
  () => '"\\u0000"',
  () => "99999999999999999999999999",
  () => `${"[".repeat(3_000)}${"]".repeat(3_000)}`,
  () => `${'{"a":'.repeat(3_000)}1${"}".repeat(3_000)}`,
  () => '{"__proto__":{"a":1}}',
  () => '"x","x":1',
  () => "[[],{},null]",
  () => '"2026-13-45T99:99:99Z"',
  () => '"1e3s"',
  () => "true",
];

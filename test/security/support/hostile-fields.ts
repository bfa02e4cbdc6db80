import { create, type DescField, type DescMessage, type Message, ScalarType } from "@bufbuild/protobuf";

/** A request with a single wrong field. */
export interface HostileRequest {
  /** Where: the path of its JSON form. */
  readonly path: string;
  readonly what: string;
  readonly message: Message;
}

/**
 * A request for every field that a message has, down to its `depth`, and every sort of wrong value of that field:
 * each alone wrong, in a request that is empty beside it. Frames of the worker link are left out, as are documents.
 */
export function hostileRequests(desc: DescMessage, depth = 5): HostileRequest[] {
  return desc.fields.flatMap((field) =>
    hostileValues(field, depth).map(({ path, what, value }) => {
      const init = field.oneof
        ? { [field.oneof.localName]: { case: field.localName, value } }
        : { [field.localName]: value };
      return { path: `${field.jsonName}${path}`, what, message: create(desc, init) };
    }),
  );
}

interface HostileValue {
  readonly path: string;
  readonly what: string;
  readonly value: unknown;
}

function hostileValues(field: DescField, depth: number): HostileValue[] {
  const single = hostileSingles(field, depth);
  if (field.fieldKind === "list") {
    const item = field.message ? create(field.message) : defaultOf(field);
    const many = { path: "", what: "too many", value: Array.from({ length: 10_001 }, () => item) };
    return [
      many,
      ...single.map(({ path, what, value }) => ({ path: `[1]${path}`, what, value: [item, value] })),
    ];
  }
  if (field.fieldKind === "map") {
    if (field.mapKey !== ScalarType.STRING) return [];
    return [
      { path: "", what: "a key with NUL", value: { "a\0": defaultOf(field) } },
      ...single.map(({ path, what, value }) => ({ path: `["a"]${path}`, what, value: { a: value } })),
    ];
  }
  return single;
}

function hostileSingles(field: DescField, depth: number): HostileValue[] {
  const at = (what: string, value: unknown): HostileValue => ({ path: "", what, value });
  if (field.enum !== undefined) return [at("an unknown number", 9_999), at("a negative number", -1)];
  if (field.message !== undefined) {
    const { typeName, file } = field.message;
    if (typeName === "google.protobuf.Duration") {
      return [
        at("too long", { seconds: 400_000_000_000n, nanos: 0 }),
        at("nanos", { seconds: 1n, nanos: 2e9 }),
      ];
    }
    if (typeName === "google.protobuf.Timestamp") {
      return [
        at("too late", { seconds: 400_000_000_000n, nanos: 0 }),
        at("too early", { seconds: -1n, nanos: 0 }),
      ];
    }
    if (typeName.startsWith("google.protobuf.") || file.name === "muster/v1/link" || depth === 0) return [];
    return hostileRequests(field.message, depth - 1).map(({ path, what, message }) => ({
      path: `.${path}`,
      what,
      value: message,
    }));
  }
  if (field.scalar === ScalarType.STRING) return [at("NUL", "a\0b"), at("too long", "x".repeat(262_145))];
  if (field.scalar === ScalarType.DOUBLE || field.scalar === ScalarType.FLOAT) {
    return [at("NaN", Number.NaN), at("an infinity", Number.POSITIVE_INFINITY)];
  }
  return [];
}

function defaultOf(field: DescField): unknown {
  if (field.message !== undefined) return create(field.message);
  if (field.scalar === ScalarType.STRING) return "a";
  if (field.scalar === ScalarType.BYTES) return new Uint8Array();
  const isLong = field.scalar === ScalarType.INT64 || field.scalar === ScalarType.UINT64;
  return isLong ? 0n : 0;
}

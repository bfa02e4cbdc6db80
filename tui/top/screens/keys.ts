import { timestampMs } from "@bufbuild/protobuf/wkt";
import { type Key, KeyService } from "@muster/client/v1/key_service";
import { readDuration, timeFromMs } from "../../input/values.ts";
import { showDuration } from "../../output/time.ts";
import type { FormValues } from "../overlays/form.ts";
import { secretOverlay } from "../overlays/secret.ts";
import type { KeyBinding } from "../shell/bindings.ts";
import { commandLine, shellWord } from "../shell/command-line.ts";
import type { FilterTerm } from "../shell/filter-terms.ts";
import { showMoment } from "../shell/moments.ts";
import type { ScreenFrame, Shell } from "../shell/screen.ts";
import { knownTerms, readTerms, writeTerm } from "../shell/term-values.ts";
import { pagedSources, pageSize } from "../sources/paged.ts";
import { ask, askForm } from "./ask.ts";
import { type Fact, factLines, whenText } from "./facts.ts";
import { needsRow, relatedKey, wayTo } from "./go.ts";
import { createListScreen, type ListScreen } from "./list-screen.ts";
import type { ColumnSpec } from "./list-view.ts";
import { wrongUnless } from "./queue-keys.ts";

const terms: readonly FilterTerm[] = [
  { name: "ended", about: "revoked and expired ones, too", values: ["yes"] },
];

const scopes = ["read", "submit", "work", "operate", "admin"] as const;

/** The columns of the list of keys. */
const keyColumns: readonly ColumnSpec<Key>[] = [
  { id: "key", title: "KEY", width: 14, rank: 3, cell: ({ keyId }) => ({ text: keyId, style: "dim" }) },
  { id: "name", title: "NAME", width: 18, cell: ({ name, workerName }) => ({ text: name || workerName }) },
  { id: "type", title: "TYPE", width: 6, rank: 2, cell: ({ type }) => ({ text: type }) },
  {
    id: "created",
    title: "MADE",
    width: ({ time }) => (time === "relative" ? 6 : time === "clock" ? 8 : 20),
    align: "right",
    rank: 1,
    cell: ({ createTime }, frame) => ({ text: showMoment(createTime, frame) }),
  },
  {
    id: "used",
    title: "USED",
    width: ({ time }) => (time === "relative" ? 6 : time === "clock" ? 8 : 20),
    align: "right",
    rank: 1,
    cell: ({ useTime }, frame) => ({ text: useTime === undefined ? "never" : showMoment(useTime, frame) }),
  },
  { id: "state", title: "STATE", width: 12, cell: (key, frame) => stateOf(key, frame) },
  { id: "scopes", title: "SCOPES", width: 0, cell: ({ scopes: allowed }) => ({ text: allowed.join(" ") }) },
];

/** A key beside the list. */
function keyLines(key: Key, frame: ScreenFrame): string[] {
  const facts: Fact[] = [
    ["key", key.keyId],
    ["name", key.name],
    ["type", key.type],
    ["worker", key.workerName],
    ["scopes", key.scopes.join(" ")],
    ["state", [stateOf(key, frame)]],
    ["text", key.lastFour === "" ? "" : `${key.prefix}…${key.lastFour}`],
    ["hashed", key.scheme === "" ? "" : `elsewhere, ${key.scheme}`],
    ["made", whenText(key.createTime, frame)],
    ["used", key.useTime === undefined ? "never" : whenText(key.useTime, frame)],
    ["rotated to", key.successorKeyId],
    ["revoked", key.revokeTime === undefined ? "" : whenText(key.revokeTime, frame)],
  ];
  return factLines(facts, frame);
}

/** The keys, newest first; never their text. */
export function createKeys(shell: Shell): ListScreen<Key> {
  const client = shell.client(KeyService);
  return createListScreen<Key>(shell, {
    id: "keys",
    title: () => "Keys",
    idOf: ({ keyId }) => keyId,
    columns: keyColumns,
    source: pagedSources<Key>(
      async ({ filter }, pageToken, signal) => {
        const all = readTerms(filter, terms).has("ended");
        const answer = await client.listKeys({ all, pageSize, pageToken }, { signal, timeoutMs: 30_000 });
        return { rows: answer.keys, nextPageToken: answer.nextPageToken };
      },
      { everyMs: 5_000 },
    ),
    terms,
    none: "There are no keys.",
    preview: keyLines,
    keys: (list) => keyKeys(shell, list.current),
    equals: [{ command: "key list", method: "KeyService.ListKeys" }],
    command: ({ filter }) => commandLine("key list", knownTerms(filter, terms).has("ended") ? "--ended" : ""),
    copies: ({ name }) => [["name", name]],
  });
}

function keyKeys(shell: Shell, current: () => Key | undefined): KeyBinding[] {
  return [
    {
      id: "key.create",
      keys: ["c"],
      label: "create",
      group: "act",
      danger: "mild",
      equal: { command: "key create", method: "KeyService.CreateKey" },
      hint: 2,
      when: () => shell.barrier("admin"),
      run: () => openCreate(shell),
    },
    {
      id: "key.revoke",
      keys: ["x"],
      label: "revoke",
      group: "act",
      danger: "severe",
      equal: { command: "key revoke", method: "KeyService.RevokeKey" },
      hint: 3,
      when: needsRow(shell, current, "admin", ({ revokeTime }) =>
        revokeTime === undefined ? undefined : "it is revoked already",
      ),
      run: () => {
        const key = current();
        if (key !== undefined) askRevoke(shell, key);
      },
    },
    {
      id: "key.rotate",
      keys: ["R"],
      label: "rotate",
      group: "act",
      danger: "moderate",
      equal: { command: "key rotate", method: "KeyService.RotateKey" },
      when: needsRow(shell, current, "admin", ({ revokeTime }) =>
        revokeTime === undefined ? undefined : "it is revoked already",
      ),
      run: () => {
        const key = current();
        if (key !== undefined) askRotate(shell, key);
      },
    },
    relatedKey(shell, current, ({ keyId, workerName }) => [
      wayTo(shell, "what it changed", "audit", writeTerm("actor", `key:${keyId}`)),
      ...(workerName === ""
        ? []
        : [wayTo(shell, `worker ${workerName}`, "workers", writeTerm("name", workerName))]),
    ]),
  ];
}

function openCreate(shell: Shell): void {
  const text = (values: FormValues, name: string): string => (values[name] ?? "").trim();
  const chosen = (values: FormValues): string[] =>
    text(values, "scopes")
      .split(/[\s,]+/)
      .filter((one) => one !== "");
  askForm(shell, {
    title: "Create an API key",
    verb: "create",
    fields: [
      {
        name: "name",
        label: "Name",
        value: "",
        about: "for people, like ci: 1 to 100 characters",
        check: (given) => (given.trim() === "" ? "needs a name" : undefined),
      },
      {
        name: "scopes",
        label: "Scopes",
        value: "read",
        about: `what it allows: ${scopes.join(", ")}; admin allows all`,
        check: (given) => {
          const wrong = given
            .split(/[\s,]+/)
            .find((one) => one !== "" && !scopes.some((known) => known === one));
          if (wrong !== undefined) return `there is no scope ${JSON.stringify(wrong)}`;
          return given.trim() === "" ? "needs at least one" : undefined;
        },
      },
      {
        name: "expireTime",
        label: "Expires",
        value: "",
        about: "ends by itself after so long, like 90d; empty: never",
        check: (given) => wrongUnless(given, (one) => readDuration(one)),
      },
    ],
    command: (values) =>
      commandLine(
        "key create",
        shellWord(text(values, "name")),
        ["--scope", chosen(values).join(",")],
        ["--expires", text(values, "expireTime")],
      ),
    act: (values) => {
      const length = readDuration(text(values, "expireTime"));
      const expires = length.kind === "value" && text(values, "expireTime") !== "";
      const request = {
        name: text(values, "name"),
        scopes: chosen(values),
        ...(expires && length.kind === "value"
          ? { expireTime: timeFromMs(shell.serverNow() + length.value) }
          : {}),
      };
      return {
        run: ({ options }) => shell.client(KeyService).createKey(request, options),
        done: () => `made the key ${request.name}`,
        after: (answer) => {
          shell.restart();
          shell.open((close) =>
            secretOverlay(
              `The key ${request.name}`,
              answer.text,
              (secret) => shell.copy(secret, "the key"),
              close,
            ),
          );
        },
      };
    },
  });
}

function askRevoke(shell: Shell, { keyId, name, workerName, type }: Key): void {
  const called = name || workerName || keyId;
  ask(
    shell,
    {
      title: `Revoke the key ${called}?`,
      lines: [
        "Every call with it is refused from now on, for ever.",
        ...(type === "worker" ? [`Worker ${workerName} cannot attach with it any more.`] : []),
      ],
      verb: "Revoke it",
      typed: called,
      command: (reason) => commandLine("key revoke", keyId, ["--reason", reason], ["--confirm", called]),
    },
    {
      run: ({ options }, reason) => shell.client(KeyService).revokeKey({ keyId, reason }, options),
      done: () => `revoked ${called}`,
    },
  );
}

function askRotate(shell: Shell, { keyId, name, workerName }: Key): void {
  const called = name || workerName || keyId;
  ask(
    shell,
    {
      title: `Rotate the key ${called}?`,
      lines: ["A new key takes its place: its text is shown once.", "The old one ends in 24 h."],
      verb: "Rotate it",
      command: (reason) => commandLine("key rotate", keyId, ["--reason", reason]),
    },
    {
      run: ({ options }, reason) => shell.client(KeyService).rotateKey({ keyId, reason }, options),
      done: () => `rotated ${called}`,
      after: (answer) => {
        shell.restart();
        shell.open((close) =>
          secretOverlay(`The key ${called}`, answer.text, (secret) => shell.copy(secret, "the key"), close),
        );
      },
    },
  );
}

function stateOf({ revokeTime, expireTime }: Key, { nowMs }: ScreenFrame) {
  if (revokeTime !== undefined) return { text: "revoked", style: "dim" as const };
  if (expireTime === undefined) return { text: "valid", style: "green" as const };
  const leftMs = timestampMs(expireTime) - nowMs;
  if (leftMs <= 0) return { text: "expired", style: "dim" as const };
  return {
    text: `ends ${showDuration(leftMs)}`,
    style: leftMs < 7 * 86_400_000 ? ("yellow" as const) : ("plain" as const),
  };
}

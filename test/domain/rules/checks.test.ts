import { describe, expect, test } from "vitest";
import {
  judgeArtifactSharing,
  judgeCertificate,
  judgeClock,
  judgeConnections,
  judgeCoordinators,
  judgeDurability,
  judgeFeed,
  judgeListeners,
  judgeLoop,
  judgeMemory,
  judgeMigrations,
  judgeNode,
  judgeNotify,
  judgePartitions,
  judgeTransactions,
  judgeVersion,
} from "../../../server/domain/rules/checks.ts";

const nowMs = Date.UTC(2026, 10, 22, 12);
const open = { pid: 42, application: "psql", state: "idle in transaction", ageMs: 1_000, isWriting: true };
const seen = (name: string, agoMs: number, version = "1.0.0") => ({
  coordinatorId: name,
  apiAddress: `http://${name}`,
  version,
  seenAt: new Date(nowMs - agoMs),
});
const day = 86_400_000;
const partitions = (days: number) =>
  ["jobs", "attempts", "log_chunks"].flatMap((table) =>
    Array.from(
      { length: days },
      (_, n) => `${table}_${new Date(nowMs + n * day).toISOString().slice(0, 10).replaceAll("-", "")}`,
    ),
  );
const memory = { rssBytes: 10, memoryLimitBytes: 100, heapBytes: 10, heapLimitBytes: 100 };

const cases = {
  "a tested version": [judgeVersion("18.4", 180_004), "ok"],
  "an old version": [judgeVersion("14.2", 140_002), "fail"],
  "durable settings": [judgeDurability([]), "ok"],
  "commits that are not waited for": [judgeDurability(["synchronous_commit"]), "warn"],
  "no fsync": [judgeDurability(["fsync"]), "fail"],
  "a clock that agrees": [judgeClock(-4_900), "ok"],
  "a clock that is off": [judgeClock(-5_100), "warn"],
  "free connections": [judgeConnections(79, 100), "ok"],
  "few connections": [judgeConnections(80, 100), "warn"],
  "no connections": [judgeConnections(95, 100), "fail"],
  "no open transaction": [judgeTransactions([]), "ok"],
  "a young writer": [judgeTransactions([open]), "ok"],
  "an old writer": [judgeTransactions([{ ...open, ageMs: 11_000 }]), "warn"],
  "a very old writer": [judgeTransactions([{ ...open, ageMs: 61_000 }]), "fail"],
  "an old reader": [judgeTransactions([{ ...open, ageMs: 61_000, isWriting: false }]), "ok"],
  "a very old reader": [judgeTransactions([{ ...open, ageMs: 301_000, isWriting: false }]), "warn"],
  "all migrations": [judgeMigrations(4, 4), "ok"],
  "migrations of a newer version": [judgeMigrations(5, 4), "warn"],
  "too few migrations": [judgeMigrations(3, 4), "fail"],
  "partitions ahead": [judgePartitions(partitions(8), nowMs), "ok"],
  "few partitions": [judgePartitions(partitions(2), nowMs), "warn"],
  "no partition for today": [judgePartitions(partitions(1).slice(1), nowMs), "fail"],
  "a note that came back": [judgeNotify(3), "ok"],
  "a note that did not": [judgeNotify(null), "warn"],
  "a feed that is up to date": [judgeFeed(null), "ok"],
  "a feed that is late": [judgeFeed(11_000), "warn"],
  "a feed that stands": [judgeFeed(61_000), "fail"],
  "coordinators alike": [judgeCoordinators([seen("a", 0), seen("b", 5_000)], nowMs), "ok"],
  "a coordinator that is gone": [judgeCoordinators([seen("a", 0), seen("b", 16_000)], nowMs), "warn"],
  "two versions": [judgeCoordinators([seen("a", 0), seen("b", 0, "1.1.0")], nowMs), "warn"],
  "files of one coordinator": [judgeArtifactSharing([seen("a", 0), seen("b", 16_000)], nowMs, "/x"), "skip"],
  "files of one of two": [judgeArtifactSharing([seen("a", 0), seen("b", 0)], nowMs, "/x"), "warn"],
  "memory left": [judgeMemory(memory), "ok"],
  "little memory": [judgeMemory({ ...memory, rssBytes: 81 }), "warn"],
  "a full heap": [judgeMemory({ ...memory, heapBytes: 96 }), "fail"],
  "a quick loop": [judgeLoop(900), "ok"],
  "a slow loop": [judgeLoop(1_100), "warn"],
  "a good Node": [judgeNode("24.21.0"), "ok"],
  "a Node with a known hole": [judgeNode("24.13.1"), "warn"],
  "an odd Node": [judgeNode("25.0.0"), "ok"],
  "no certificate": [judgeCertificate(null, nowMs), "skip"],
  "a certificate for long": [judgeCertificate(new Date(nowMs + 15 * day), nowMs), "ok"],
  "a certificate that ends": [judgeCertificate(new Date(nowMs + 13 * day), nowMs), "warn"],
  "a certificate that ended": [judgeCertificate(new Date(nowMs - 1), nowMs), "fail"],
  loopback: [judgeListeners(["127.0.0.1", "::1"], false), "ok"],
  "the world with TLS": [judgeListeners(["0.0.0.0"], true), "ok"],
  "the world without TLS": [judgeListeners(["127.0.0.1", "0.0.0.0"], false), "warn"],
} as const;

describe("a check", () => {
  test.each(Object.entries(cases))("of %s has its level, and a fix where one is due", (_, [found, level]) => {
    expect(found.level).toBe(level);
    expect(found.detail).not.toBe("");
    expect(found.fix !== "").toBe(level === "warn" || level === "fail");
  });

  test("names who holds the feed back, and how to end it", () => {
    const reader = { ...open, pid: 7, ageMs: 400_000, isWriting: false };
    const found = judgeTransactions([reader, { ...open, ageMs: 70_000 }]);
    expect(found.detail).toContain(
      "psql (pid 42), idle in transaction, open for 70 s, holds the change feed back",
    );
    expect(found.fix).toContain("pg_terminate_backend(42)");
    const hidden = { ...open, pid: null, application: "", state: null, ageMs: 70_000 };
    expect(judgeTransactions([hidden]).detail).toContain("a session without a name, state unknown");
    expect(judgeTransactions([{ ...open, ageMs: null }]).detail).toContain("pg_read_all_stats");
  });
});

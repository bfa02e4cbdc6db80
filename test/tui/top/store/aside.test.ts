import { expect, test } from "vitest";
import { createAside } from "../../../../tui/top/store/aside.ts";

function make() {
  const asked: string[] = [];
  const clock = { nowMs: 0 };
  let answer = Promise.withResolvers<string>();
  let told = Promise.withResolvers<void>();
  const aside = createAside<string>({
    read: (key) => {
      asked.push(key);
      return answer.promise;
    },
    now: () => clock.nowMs,
    changed: () => told.resolve(),
    everyMs: 1_000,
  });
  const settle = async (change: (resolvers: PromiseWithResolvers<string>) => void): Promise<void> => {
    change(answer);
    await told.promise;
    answer = Promise.withResolvers<string>();
    told = Promise.withResolvers<void>();
  };
  return { aside, asked, clock, settle };
}

test("reads one row at a time, and again when it is old", async () => {
  const ending = new AbortController();
  const { aside, asked, clock, settle } = make();
  expect(aside.of("a").value).toBeUndefined();
  expect(asked).toEqual([]);
  void aside.follow(ending.signal);
  aside.of("a");
  aside.of("b");
  expect(asked).toEqual(["a"]);
  await settle(({ resolve }) => resolve("about a"));
  expect(aside.of("a")).toMatchObject({ value: "about a", cause: "" });
  expect(asked).toEqual(["a"]);
  clock.nowMs = 1_000;
  expect(aside.of("a").value).toBe("about a");
  expect(asked).toEqual(["a", "a"]);
  await settle(({ reject }) => reject(new Error("gone")));
  expect(aside.of("a")).toMatchObject({ value: "about a", cause: "gone" });
});

test("reads nothing when the screen is left", async () => {
  const ending = new AbortController();
  const { aside, asked } = make();
  const following = aside.follow(ending.signal);
  ending.abort();
  await following;
  aside.of("a");
  expect(asked).toEqual([]);
});

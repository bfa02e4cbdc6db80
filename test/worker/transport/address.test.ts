import { describe, expect, test } from "vitest";
import {
  defaultApiAddress,
  isLoopback,
  parseAddress,
  parseAddresses,
} from "../../../worker/transport/address.ts";

describe("an address", () => {
  test.each([
    ["localhost:7071", "localhost:7071", "http://localhost:7071", false],
    ["coordinator", "coordinator:7071", "http://coordinator:7071", false],
    ["127.0.0.1:80", "127.0.0.1:80", "http://127.0.0.1:80", false],
    ["http://h:80", "h:80", "http://h:80", false],
    ["http://h", "h:7071", "http://h:7071", false],
    ["http://h:9/", "h:9", "http://h:9", false],
    ["https://h", "h:443", "https://h:443", true],
    ["https://h:443", "h:443", "https://h:443", true],
    ["https://h:7071", "h:7071", "https://h:7071", true],
    ["[::1]:7071", "[::1]:7071", "http://[::1]:7071", false],
  ])("%s leads to %s", (text, target, url, isTls) => {
    expect(parseAddress(text, 7071)).toMatchObject({ target, url, isTls });
  });

  test.each(["", "ftp://h", "h:port", "h:99999", "http://h/x", "http://u:p@h", "http://h?x", "a b"])(
    "%j is none",
    (text) => {
      expect(() => parseAddress(text, 7071)).toThrow(/must be host:port/);
    },
  );

  test("one of several is read like one alone", () => {
    const urls = (text: string) => parseAddresses(text, 7071).map(({ url }) => url);
    expect(urls("a, https://b:1,[::1]:2")).toEqual(["http://a:7071", "https://b:1", "http://[::1]:2"]);
    expect(() => urls("a,")).toThrow(/must be host:port/);
  });

  test.each([
    ["h:7071", "http://h:7070"],
    ["[::1]:7071", "http://[::1]:7070"],
    ["https://h:7071", "https://h:7070"],
    ["https://h", "https://h:443"],
    ["127.0.0.1:17171", "http://127.0.0.1:17171"],
    ["h:7070", "http://h:7070"],
    ["h", "http://h:7070"],
  ])("beside %s the API is at %s", (text, url) => {
    expect(defaultApiAddress(parseAddress(text, 7071)).url).toBe(url);
  });

  test.each([
    ["127.0.0.1:1", true],
    ["localhost:1", true],
    ["[::1]:1", true],
    ["10.0.0.1:1", false],
    ["127.example.com:1", false],
  ])("%s is this machine: %s", (text, is) => {
    expect(isLoopback(parseAddress(text, 7071))).toBe(is);
  });
});

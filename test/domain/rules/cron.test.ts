import { describe, expect, test } from "vitest";
import { readCron, wordsOfCron } from "../../../server/domain/rules/cron.ts";

describe("a cron that cannot be read", () => {
  test.each([
    ["0 0 32 * *", "the day 32 is not from 1 to 31"],
    ["0 0 0 * *", "the day 0 is not from 1 to 31"],
    ["0 0 40W * *", "the day 40 is not from 1 to 31"],
    ["0 0 1 13 *", "the month 13 is not from 1 to 12"],
    ["0 0 1,5-14/3 5-14/3 *", "the month 14 is not from 1 to 12"],
    ["0 0 * * 8#2", "the weekday 8 is not from 0 to 7"],
    ["0 24 * * *", "the hour 24 is not from 0 to 23"],
    ["60 0 0 * * *", "the second 60 is not from 0 to 59"],
    ["0,15,75 * * * *", "the minute 75 is not from 0 to 59"],
    ["0 0 x * *", "the day (x) contains illegal characters."],
    ["0 0 1 , *", "the month () is empty, check for trailing spaces."],
    ["0 0 * * 1,", "the weekday () is empty, check for trailing spaces."],
    ["5/0 0 99999999999999999999 * *", "the day 99999999999999999999 is not from 1 to 31"],
    ["*/0 * * * *", "syntax error, illegal stepping: 0"],
  ])("%s: names the value as it is given: %s", (text, why) => {
    expect(readCron(text)).toEqual({ fault: `cannot be read: ${why}` });
  });
});

describe("a cron in words", () => {
  test.each([
    ["0 0 29 2 1", "At 00:00, on day 29 of the month, and on Monday, only in February"],
    ["0 0 29 2 +1", "At 00:00, on day 29 of the month, only on Monday, only in February"],
    ["30 0 0 1-7 * +mon", "At 00:00:30, between day 1 and 7 of the month, only on Monday"],
    ["@daily", "At 00:00, every day"],
    ["@every 90s", "Every 1 minute 30 seconds"],
  ])("%s: %s", (text, words) => {
    expect(readCron(text)).not.toHaveProperty("fault");
    expect(wordsOfCron(text)).toBe(words);
  });
});

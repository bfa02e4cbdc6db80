import { LogStream } from "@muster/client/v1/event";
import { describe, expect, test } from "vitest";
import { JobFailure } from "../../worker/failure.ts";
import { Redaction } from "../../worker/redaction.ts";
import { openShell } from "../support/isolated-shell.ts";
import { WorkerBench } from "../support/worker-bench.ts";

const secret = 'hunter2/"ünlock"+now';
const encoded = [
  secret,
  Buffer.from(secret).toString("base64"),
  Buffer.from(`user:${secret}`).toString("base64").slice(7),
  encodeURIComponent(secret),
  JSON.stringify(secret).slice(1, -1),
];
/** In CI a part; all of them by MUSTER_REDACTION_CASES=1000000. */
const cases = Number(process.env["MUSTER_REDACTION_CASES"] ?? 20_000);

/** All that leaves a worker, as text. */
function sent(bench: WorkerBench): string {
  const plain = (_: string, value: unknown) => {
    if (typeof value === "bigint") return String(value);
    return value instanceof Uint8Array ? Buffer.from(value).toString("utf8") : value;
  };
  return JSON.stringify(
    bench.peer.received.map(({ request }) => request),
    plain,
  );
}

function leaks(text: string): string[] {
  return encoded.filter((form) => text.includes(form) || text.includes(JSON.stringify(form).slice(1, -1)));
}

describe("S37 secrets are redacted in logs", () => {
  test("a handler's secret is in nothing that it says, whatever the way and the form", async () => {
    await using bench = await WorkerBench.open();
    const worker = bench.worker({
      handlers: {
        noop: (ctx) => {
          expect(ctx.addSecret(secret)).toBe(true);
          expect(ctx.addSecret("short")).toBe(false);
          for (const form of encoded) {
            ctx.log(`log ${form}`);
            ctx.log.system(`system ${form}`);
            for (const byte of Buffer.from(`stdout ${form}.`)) ctx.log.stdout(Uint8Array.of(byte));
            ctx.log.stderr(`stderr ${form.slice(0, 7)}`);
            ctx.log.stderr(`${form.slice(7)}.`);
            ctx.progress(0.5, `progress ${form}`);
            ctx.partial({ partial: form, nested: [{ [form]: JSON.stringify({ form }) }] });
            ctx.message(`message ${form}`);
          }
          ctx.pullRequest(`https://example.test/${encodeURIComponent(secret)}`);
          return { secret, all: encoded, text: JSON.stringify(encoded) };
        },
        fail: (ctx) => {
          ctx.addSecret(secret);
          const detail = `${"x".repeat(16_370)}${secret}`;
          throw new JobFailure(`failed with ${secret}`, { detail });
        },
        crash: (ctx) => {
          ctx.addSecret(secret);
          throw Object.assign(new Error(`crashed with ${secret}`), {
            request: { headers: { secret } },
            encoded,
          });
        },
      },
    });
    await worker.start();
    for (const kind of ["noop", "fail", "crash"]) {
      const lease = bench.peer.lease({ kind });
      bench.peer.offer(lease);
      const { outcome } = await bench.peer.resultOf(lease.lease.leaseId);
      expect(outcome.case).toBe(kind === "noop" ? "success" : "failure");
    }
    const said = (stream: LogStream) =>
      bench.peer.received
        .flatMap(({ request: { frame } }) => (frame.case === "report" ? frame.value.items : []))
        .map(({ body }) => (body.case === "log" && body.value.stream === stream ? body.value.text : ""))
        .join("");
    await bench.peer.until(() => sent(bench).includes("message ***"));
    const text = sent(bench);
    for (const way of ["log", "system", "message"]) expect(text).toContain(`${way} ***`);
    expect(said(LogStream.STDOUT)).toBe(encoded.map(() => "stdout ***.").join(""));
    expect(said(LogStream.STDERR)).toBe(encoded.map(() => "stderr ***.").join(""));
    expect(leaks(text)).toEqual([]);
    expect(text).not.toContain("hunter2");
    expect(JSON.stringify(bench.lines)).not.toContain("hunter2");
  });

  test("a program's secrets, which names of its environment tell, are cut out of its output and its tail", async () => {
    await using shell = await openShell();
    const { json } = await shell.run({
      argv: [
        "sh",
        "-c",
        // biome-ignore lint/suspicious/noTemplateCurlyInString: the shell reads it
        'printf "%s" "a-$API_TOKEN-b"; sleep 0.1; printf "%.6s" "$API_TOKEN"; sleep 0.1; printf "%s" "${API_TOKEN#??????}-$PLAIN"',
      ],
      env: { API_TOKEN: "tok-1234567890", PLAIN: "plain-1234567890" },
      outputTailBytes: 20,
    });
    expect(json.stdoutTail).toBe("***-plain-1234567890".slice(-20));
    expect(shell.text()).toBe("a-***-b***-plain-1234567890");
  });

  test("a payload is never logged", async () => {
    await using shell = await openShell();
    const canary = "canary-in-the-payload";
    await shell.run({ argv: ["true"], env: { CANARY: canary }, stdin: canary });
    const { outcome } = await shell.run({ argv: ["sh", "-c", "exit 3"], env: { CANARY: canary } });
    expect(outcome.case).toBe("failure");
    const bad = await shell.run({ argv: [canary], env: { CANARY: 7 } });
    expect(bad.outcome.case).toBe("failure");
    expect(JSON.stringify(shell.bench.lines)).not.toContain(canary);
    expect(sent(shell.bench)).not.toContain(canary);
    expect(
      shell.items().filter(({ body }) => body.case === "log" && body.value.stream !== LogStream.SYSTEM),
    ).toEqual([]);
  });

  test(`nothing leaks over any chunks: ${cases} cases`, { timeout: 1_800_000 }, () => {
    const random = generator(20_260_101);
    const whole = (most: number) => Math.floor(random() * most);
    const alphabet = 'abcABC019+/=%&"\\ üß漢\n';
    const letters = [...alphabet];
    const word = (least: number, most: number) =>
      Array.from({ length: least + whole(most - least) }, () => letters[whole(letters.length)]).join("");
    const encodings: ((one: string) => string)[] = [
      (one) => one,
      (one) => Buffer.from(one).toString("base64"),
      (one) => Buffer.from(`${word(0, 4)}${one}${word(0, 4)}`).toString("base64"),
      (one) => Buffer.from(one).toString("base64url"),
      (one) => encodeURIComponent(one),
      (one) => JSON.stringify(one),
      (one) => JSON.stringify(JSON.stringify({ one })),
      (one) => Buffer.from(one).toString("hex"),
    ];
    let leaked = 0;
    let redaction = new Redaction();
    let secrets: string[] = [];
    for (let run = 0; run < cases; run++) {
      if (run % 50 === 0) {
        secrets = Array.from({ length: 1 + whole(3) }, () => `${word(2, 6)}Zq${run}x${word(2, 8)}`);
        redaction = new Redaction();
        for (const one of secrets) redaction.add(one);
      }
      const parts = Array.from({ length: 1 + whole(5) }, () =>
        random() < 0.5
          ? word(0, 12)
          : (encodings[whole(encodings.length)] ?? String)(secrets[whole(secrets.length)] ?? ""),
      );
      const bytes = Buffer.from(parts.join(""));
      const stream = redaction.stream();
      let out = "";
      for (let at = 0; at < bytes.length; ) {
        const end = Math.min(bytes.length, at + 1 + whole(random() < 0.3 ? 3 : 40));
        out += stream.push(bytes.subarray(at, end));
        at = end;
      }
      out += stream.end();
      const forms = secrets.flatMap((one) =>
        encodings.filter((_, index) => index !== 2).map((encode) => encode(one)),
      );
      if (forms.some((form) => out.includes(form)) || out.includes(`Zq${run - (run % 50)}x`)) leaked += 1;
    }
    expect(leaked).toBe(0);
  });
});

/** Numbers from 0 to 1 that are the same in every run (mulberry32). */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

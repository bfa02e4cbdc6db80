import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
const packages = ["gen", "server", "worker", "tui"] as const;
const maxLines = 400;

/** What a folder of the server may import besides itself: imports go down. */
const serverArrows: Readonly<Record<string, readonly string[]>> = {
  "server.ts": ["*"],
  rpc: ["domain", "dispatch", "link", "store", "maintain", "config"],
  link: ["domain", "dispatch", "store", "rpc", "config"],
  dispatch: ["domain", "store", "config"],
  maintain: ["domain", "dispatch", "store", "link", "config"],
  domain: ["store", "domain/rules", "outbound", "config"],
  kinds: ["domain", "outbound"],
  outbound: [],
  store: ["domain/rules"],
  "domain/rules": [],
};

/** What a package may import of the others. */
const packageArrows: Readonly<Record<string, readonly string[]>> = {
  gen: ["@muster/client"],
  server: ["@muster/client"],
  worker: ["@muster/client"],
  tui: ["@muster/client", "@muster/server", "@muster/worker"],
};

const files = packages.flatMap((name) => sources(join(root, name)));

function sources(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory())
      return ["dist", "node_modules", "src", "migrations"].includes(entry.name) ? [] : sources(path);
    return /\.tsx?$/.test(entry.name) ? [path] : [];
  });
}

function imports(path: string): string[] {
  const text = readFileSync(path, "utf8");
  return [...text.matchAll(/(?:^|\n)\s*(?:import|export)[^"';]*?from "([^"]+)"|import\("([^"]+)"\)/g)].map(
    (match) => match[1] ?? match[2] ?? "",
  );
}

// `server/domain/rules/x.ts` is in `domain/rules`; `server/x.ts` in `x.ts`, all of which stands for the configuration.
function folderOf(path: string): string {
  const parts = relative(join(root, "server"), path).split("/");
  if (parts.length === 1) return parts[0] === "server.ts" || parts[0] === "log.ts" ? "server.ts" : "config";
  return parts[0] === "domain" && parts[1] === "rules" ? "domain/rules" : (parts[0] ?? "");
}

describe("the architecture", () => {
  test("has sources to look at", () => expect(files.length).toBeGreaterThan(100));

  test.each(files.map((file) => relative(root, file)))("%s has at most 400 lines", (file) => {
    expect(readFileSync(join(root, file), "utf8").split("\n").length - 1).toBeLessThanOrEqual(maxLines);
  });

  test("lets packages import in one direction", () => {
    const wrong = files.flatMap((file) => {
      const name = relative(root, file).split("/")[0] ?? "";
      return imports(file)
        .filter((target) => target.startsWith("@muster/") || target === "muster")
        .filter(
          (target) =>
            !packageArrows[name]?.some((allowed) => target === allowed || target.startsWith(`${allowed}/`)),
        )
        .map((target) => `${relative(root, file)} imports ${target}`);
    });
    expect(wrong).toEqual([]);
  });

  test("lets no relative import leave its package", () => {
    const wrong = files.flatMap((file) => {
      const home = join(root, relative(root, file).split("/")[0] ?? "");
      return imports(file)
        .filter((target) => target.startsWith("."))
        .map((target) => join(dirname(file), target))
        .filter((target) => !target.startsWith(home))
        .map((target) => `${relative(root, file)} imports ${relative(root, target)}`);
    });
    expect(wrong).toEqual([]);
  });

  test("lets imports of the server go down", () => {
    const wrong = files
      .filter((file) => file.startsWith(join(root, "server/")))
      .flatMap((file) => {
        const from = folderOf(file);
        const allowed = serverArrows[from] ?? ["config"];
        return imports(file)
          .filter((target) => target.startsWith("."))
          .map((target) => folderOf(join(dirname(file), target)))
          .filter((to) => to !== from && to !== "config" && !allowed.includes(to) && !allowed.includes("*"))
          .filter((to) => !(to === "domain/rules" && from !== "outbound"))
          .map((to) => `${relative(root, file)} (${from}) imports ${to}`);
      });
    expect(wrong).toEqual([]);
  });

  test("keeps SQL in the store", () => {
    const outside = files.filter(
      (file) => !file.includes("/server/store/") && file.startsWith(join(root, "server/")),
    );
    const wrong = outside.filter((file) =>
      imports(file).some(
        (target) => /^(drizzle-orm|postgres)(\/|$)/.test(target) && !isTypeOnly(file, target),
      ),
    );
    expect(wrong.map((file) => relative(root, file))).toEqual([]);
  });

  test("has no default exports and nothing switched off", () => {
    const wrong = files.filter((file) => {
      const text = readFileSync(file, "utf8");
      const code = text.replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, "");
      return (
        /@ts-ignore|@ts-expect-error|@ts-nocheck/.test(text) || /export default|: any\b|as any\b/.test(code)
      );
    });
    expect(wrong.map((file) => relative(root, file))).toEqual([]);
  });
});

function isTypeOnly(file: string, target: string): boolean {
  const text = readFileSync(file, "utf8");
  const statement = new RegExp(`import ([^"';]*?) from "${target}"`).exec(text)?.[1] ?? "";
  return statement.startsWith("type ") || /^\{\s*(type \w+,?\s*)+\}$/.test(statement);
}

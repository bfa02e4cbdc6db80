#!/usr/bin/env node
// Old syntax up to the import: an old Node must be able to say what is wrong.
var version = process.versions.node.split(".").map(Number);
if (version[0] < 22 || (version[0] === 22 && version[1] < 12)) {
  process.stderr.write(
    "error: muster needs Node 22.12 or newer, and this is " +
      process.versions.node +
      "\n  fix: install a newer Node (https://nodejs.org), or run it with npx in a checkout of muster.\n",
  );
  process.exitCode = 1;
} else {
  if (process.env.NODE_ENV === undefined) process.env.NODE_ENV = "production";
  import("../dist/main.js").then(
    (program) => program.main(),
    (error) => {
      process.stderr.write(
        `error: muster is not built: ${error.message}\n  fix: run npm run build in the checkout.\n`,
      );
      process.exitCode = 1;
    },
  );
}

import { fileURLToPath } from "node:url";
import { runDetectors } from "./detect.ts";
import { mutants } from "./mutants.ts";
import { copyTree } from "./tree.ts";

/*
 * `npm run chaos:mutants [-- --only TEXT]`: puts each fault into a copy of the
 * tree, one at a time, and sees whether its test notices. First all of these
 * tests must pass on the copy as it is. Exits with 1 when a mutant survives.
 */
const only = process.argv[process.argv.indexOf("--only") + 1];
const chosen = process.argv.includes("--only")
  ? mutants.filter(({ name }) => name.includes(only ?? ""))
  : mutants;
if (chosen.length === 0) throw new Error(`no mutant has "${only}" in its name`);

await using tree = await copyTree(fileURLToPath(new URL("../../..", import.meta.url)));
await tree.build();
const unchanged = [...(await runDetectors(tree, chosen))].filter(([, { isPassed }]) => !isPassed);
for (const [name, { message }] of unchanged) {
  console.log(`the test for "${name}" fails on the tree as it is: ${message}`);
}
if (unchanged.length > 0) process.exitCode = 1;
else {
  const survivors: string[] = [];
  for (const mutant of chosen) {
    await using _edits = await tree.edit(mutant.edits);
    await tree.build();
    const result = (await runDetectors(tree, [mutant])).get(mutant.name);
    if (result?.isPassed) survivors.push(mutant.name);
    console.log(
      `${result?.isPassed ? "SURVIVED" : "caught  "}  ${mutant.name.padEnd(50)}  ${result?.message}`,
    );
  }
  const caught = chosen.length - survivors.length;
  console.log(JSON.stringify({ mutants: chosen.length, caught, survivors }));
  if (survivors.length > 0) process.exitCode = 1;
}

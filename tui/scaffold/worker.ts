import { type KindNames, kindFiles, registryFile, registryText } from "./kind.ts";

/** The files of a new worker, by path: it runs, and its test passes, as they are. */
export function workerFiles(name: string, kind: KindNames, version: string): ReadonlyMap<string, string> {
  return new Map([
    ["package.json", packageText(name, version)],
    ["tsconfig.json", tsconfigText],
    ["worker.ts", workerText],
    [registryFile, registryText(kind)],
    ...kindFiles(kind),
    ["README.md", readmeText(name, kind.kind)],
    [".gitignore", "node_modules/\n*.key\n"],
  ]);
}

function packageText(name: string, version: string): string {
  const manifest = {
    name,
    version: "0.1.0",
    private: true,
    type: "module",
    engines: { node: ">=22.22.2" },
    scripts: { start: "node worker.ts", test: "node --test", typecheck: "tsc" },
    dependencies: { "@muster/worker": version },
    devDependencies: { "@types/node": "^24.0.0", typescript: "^7.0.0" },
  };
  return `${JSON.stringify(manifest, null, 2)}\n`;
}

const tsconfigText = `${JSON.stringify(
  {
    compilerOptions: {
      target: "es2024",
      module: "nodenext",
      types: ["node"],
      strict: true,
      noUncheckedIndexedAccess: true,
      exactOptionalPropertyTypes: true,
      erasableSyntaxOnly: true,
      verbatimModuleSyntax: true,
      allowImportingTsExtensions: true,
      skipLibCheck: true,
      noEmit: true,
    },
    include: ["**/*.ts"],
  },
  null,
  2,
)}\n`;

const workerText = `import { Worker } from "@muster/worker";
import { handlers } from "./handlers.ts";

const worker = new Worker({
  address: process.env["MUSTER_WORKER_ADDRESS"] ?? "127.0.0.1:7071",
  key: process.env["MUSTER_WORKER_KEY"] ?? "",
  handlers,
});
// What runs may end before the process does; what does not is given back and runs elsewhere.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => void worker.stop());
await worker.start();
const { kind, detail } = await worker.closed;
if (kind !== "stopped") {
  console.error(\`the worker ended (\${kind}): \${detail}\`);
  process.exitCode = 1;
}
`;

function readmeText(name: string, kind: string): string {
  return `# ${name}

A Muster worker. \`handlers.ts\` names the kinds that it runs, \`kinds/\` holds a handler and its test each.

\`\`\`
npm install && npm test
muster worker create ${name} --key-file ${name}.key
MUSTER_WORKER_KEY=$(cat ${name}.key) npm start
muster job submit ${kind} --data '{"name":"Ada"}' --wait
\`\`\`

\`muster kind new KIND\`, in this directory, adds a kind.
`;
}

import { type Config, ConfigError, loadConfig } from "../../server/config.ts";
import type { ConfigInput, ConfigProblem } from "../../server/config-sources.ts";

/** What a coordinator is started with. */
export interface Given {
  readonly flags?: ConfigInput["flags"];
  readonly env?: ConfigInput["env"];
  readonly files?: Readonly<Record<string, string>>;
  readonly otherVariables?: readonly string[];
}

/** The configuration made of it, by somebody whose home is /home/ada. */
export function load({ flags = {}, env = {}, files = {}, otherVariables = [] }: Given = {}): Config {
  const readFile = (path: string): string => {
    const text = files[path];
    if (text === undefined) throw Object.assign(new Error(`ENOENT: open '${path}'`), { code: "ENOENT" });
    return text;
  };
  return loadConfig({ flags, env: { HOME: "/home/ada", ...env }, readFile, otherVariables });
}

/** With a file of settings. */
export function loadYaml(yaml: string, given: Given = {}): Config {
  return load({ ...given, flags: { ...given.flags, config: "muster.yaml" }, files: { "muster.yaml": yaml } });
}

/** What is wrong with it. */
export function problemsOf(run: () => unknown): readonly ConfigProblem[] {
  try {
    run();
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

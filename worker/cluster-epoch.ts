import { readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";

const fileName = "cluster-epoch";

/** The cluster's epoch that was remembered in a directory; 0 when there is none, or it cannot be read. */
export async function readClusterEpoch(directory: string): Promise<bigint> {
  const text = await readFile(join(directory, fileName), "utf8").catch(() => "");
  return /^\d{1,18}\n$/.test(text) ? BigInt(text.trim()) : 0n;
}

/** Remembers it over restarts. One that a crash of the machine loses costs results that are sent once more. */
export async function writeClusterEpoch(directory: string, epoch: bigint): Promise<void> {
  const path = join(directory, fileName);
  await writeFile(`${path}.tmp`, `${epoch}\n`, { mode: 0o600 });
  await rename(`${path}.tmp`, path);
}

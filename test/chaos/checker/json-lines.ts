import { createReadStream } from "node:fs";
import { readdir } from "node:fs/promises";
import { basename, join } from "node:path";

/** The files of a folder that hold lines of one sort: `name.jsonl`, and `name-*.jsonl`. */
export async function filesOf(folder: string, name: string): Promise<string[]> {
  const files = await readdir(folder);
  return files
    .filter((file) => file === `${name}.jsonl` || (file.startsWith(`${name}-`) && file.endsWith(".jsonl")))
    .sort()
    .map((file) => join(folder, file));
}

/**
 * Reads a file line by line, never the whole of it. What follows the last line
 * break was being written when its process was killed: it is left out, and
 * told to `torn`. A line that is no JSON is an error, with its place.
 */
export async function readLines<T>(
  path: string,
  each: (line: T) => void,
  torn: () => void = () => {},
): Promise<void> {
  let rest: Buffer = Buffer.alloc(0);
  let number = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
    const bytes = rest.length > 0 ? Buffer.concat([rest, bufferOf(chunk)]) : bufferOf(chunk);
    let from = 0;
    for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, from)) {
      number++;
      if (end > from) each(parseLine<T>(bytes.toString("utf8", from, end), path, number));
      from = end + 1;
    }
    rest = bytes.subarray(from);
  }
  if (rest.length > 0) torn();
}

function bufferOf(chunk: unknown): Buffer {
  if (!Buffer.isBuffer(chunk)) throw new Error("a file is read as bytes");
  return chunk;
}

// The lines of a file are written by `openHistory` with the type that its name stands for.
function parseLine<T>(text: string, path: string, number: number): T {
  try {
    return JSON.parse(text) as T;
  } catch (cause) {
    throw new Error(`${basename(path)}, line ${number}: not a line of JSON`, { cause });
  }
}

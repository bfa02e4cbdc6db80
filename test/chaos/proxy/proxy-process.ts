import { createWriteStream } from "node:fs";
import { createInterface } from "node:readline";
import { ProxyBoard, type ProxyCommand } from "./proxy-board.ts";

/*
 * Proxies in a process of their own, so that the bytes of a run keep nobody else waiting. A line of JSON on standard
 * input is a command with an id: `{"id":1,"command":{"do":"start",…}}`; its answer is a line on descriptor 3:
 * `{"id":1,"answer":{…}}` or `{"id":1,"error":"…"}`. Ends when standard input does: whoever started it is gone.
 */
const board = new ProxyBoard();
const answers = createWriteStream("", { fd: 3 });
const tell = (line: object): void => {
  answers.write(`${JSON.stringify(line)}\n`);
};

for await (const line of createInterface({ input: process.stdin })) {
  const { id, command } = readRequest(line);
  // One after the other: a fault that follows a start finds the proxy.
  try {
    tell({ id, answer: await board.run(command) });
  } catch (error) {
    tell({ id, error: error instanceof Error ? error.message : String(error) });
  }
}
await board.close();
process.exit(0);

// Safe: the other end is `proxy-host.ts`, which takes only commands of this type.
function readRequest(line: string): { readonly id: number; readonly command: ProxyCommand } {
  return JSON.parse(line);
}

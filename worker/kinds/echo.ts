import { defineHandler } from "../context.ts";

/** The built-in kind `echo`: its result is its payload. To try a coordinator out. */
export const echo = defineHandler<unknown, unknown>((ctx) => ctx.payload);

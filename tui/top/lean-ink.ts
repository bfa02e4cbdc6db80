import * as nodeModule from "node:module";

/**
 * Until the function that this answers is called, `es-toolkit/compat` has the one function that Ink uses of it, instead
 * of all of its modules, which took a fifth of the start and 15 MB. Where Node has no such hooks, Ink is loaded as it is.
 */
export function leanInk(): () => void {
  // Node before 22.15 has none, whatever the types say.
  const { registerHooks }: { registerHooks?: typeof nodeModule.registerHooks } = nodeModule;
  const hooks = registerHooks?.({
    load: (url, context, next) =>
      url.endsWith("/es-toolkit/dist/compat/index.mjs")
        ? { format: "module", source: onlyThrottle, shortCircuit: true }
        : next(url, context),
  });
  return () => hooks?.deregister();
}

const onlyThrottle = `export { default as throttle } from "es-toolkit/compat/throttle";`;

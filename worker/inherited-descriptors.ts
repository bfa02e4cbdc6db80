import { closeSync, readdirSync, readFileSync } from "node:fs";

const closesOnExec = 0o2_000_000;

/**
 * Open descriptors of this process that every program it starts would inherit: what its own parent left open. What Node
 * opens is not among them. Empty where there is no `/proc`.
 */
export function inheritedDescriptors(): number[] {
  try {
    return readdirSync("/proc/self/fd")
      .map(Number)
      .filter((descriptor) => descriptor > 2 && isInherited(descriptor));
  } catch {
    return [];
  }
}

/** Closes them. For a process of its own, before it has started anything: a native library may count on one. */
export function closeInheritedDescriptors(): void {
  for (const descriptor of inheritedDescriptors()) {
    try {
      closeSync(descriptor);
    } catch {
      // Closed by then.
    }
  }
}

function isInherited(descriptor: number): boolean {
  try {
    const flags = /^flags:\s+([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${descriptor}`, "utf8"))?.[1];
    return flags !== undefined && (Number.parseInt(flags, 8) & closesOnExec) === 0;
  } catch {
    return false;
  }
}

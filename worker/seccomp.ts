/*
 * A filter of system calls for programs in a sandbox, as the kernel takes it: classic BPF over `struct seccomp_data`
 * (linux/seccomp.h, linux/filter.h). What it refuses, it refuses with EPERM.
 */

/** Bytes of a program that refuses what no job needs; null for a processor that it is not written for. */
export function seccompFilter(architecture: string): Buffer | null {
  const known = architectures[architecture];
  if (known === undefined) return null;
  const steps: Step[] = [
    load(dataOffsets.architecture),
    ifEqual(known.audit, 1, 0),
    give(refuse),
    load(dataOffsets.call),
    // The other numbering of x86-64 (x32) would go around the list.
    ifAtLeast(x32Bit, 0, 1),
    give(refuse),
    ...known.refused.flatMap((call) => [ifEqual(call, 0, 1), give(refuse)]),
    // Input pushed into a terminal is run by the shell that reads it (CVE-2017-5226).
    ifEqual(known.ioctl, 0, 4),
    load(dataOffsets.secondParameter),
    ifEqual(pushInput, 1, 0),
    ifEqual(consoleInput, 0, 1),
    give(refuse),
    give(allow),
  ];
  return Buffer.concat(steps.map(written));
}

interface Step {
  readonly code: number;
  /** Steps to leave out when it is true, and when it is not. */
  readonly ifTrue: number;
  readonly ifFalse: number;
  readonly value: number;
}

const allow = 0x7fff_0000;
const refuse = 0x0005_0000 | 1; // SECCOMP_RET_ERRNO | EPERM
const x32Bit = 0x4000_0000;
const pushInput = 0x5412; // TIOCSTI
const consoleInput = 0x541c; // TIOCLINUX
const dataOffsets = { call: 0, architecture: 4, secondParameter: 24 } as const;

// Kernel keyrings, BPF, performance counters, page faults handed to a process, rings that run calls behind a filter,
// modules, other kernels, mounts by the newer calls, the kernel's log.
const architectures: Readonly<
  Partial<Record<string, { audit: number; ioctl: number; refused: readonly number[] }>>
> = {
  x64: {
    audit: 0xc000_003e,
    ioctl: 16,
    refused: [248, 249, 250, 321, 298, 323, 425, 175, 176, 313, 246, 320, 304, 428, 429, 430, 432, 442, 103],
  },
  arm64: {
    audit: 0xc000_00b7,
    ioctl: 29,
    refused: [217, 218, 219, 280, 241, 282, 425, 105, 106, 273, 104, 294, 265, 428, 429, 430, 432, 442, 116],
  },
};

function load(offset: number): Step {
  return { code: 0x20, ifTrue: 0, ifFalse: 0, value: offset };
}

function ifEqual(value: number, ifTrue: number, ifFalse: number): Step {
  return { code: 0x15, ifTrue, ifFalse, value };
}

function ifAtLeast(value: number, ifTrue: number, ifFalse: number): Step {
  return { code: 0x35, ifTrue, ifFalse, value };
}

function give(value: number): Step {
  return { code: 0x06, ifTrue: 0, ifFalse: 0, value };
}

function written({ code, ifTrue, ifFalse, value }: Step): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt16LE(code, 0);
  bytes.writeUInt8(ifTrue, 2);
  bytes.writeUInt8(ifFalse, 3);
  bytes.writeUInt32LE(value >>> 0, 4);
  return bytes;
}

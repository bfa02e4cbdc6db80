import { gunzipSync } from "node:zlib";
import { usageError } from "../errors.ts";

/** A file of a package. */
export interface PackedFile {
  /** Below the folder of the package, which every path of a tarball starts with. */
  readonly path: string;
  readonly text: string;
}

const maxUnpackedBytes = 64 * 1024 * 1024;
const blockBytes = 512;

/**
 * The plain files of a gzipped tarball whose paths `isWanted`, in memory: nothing is written, linked or executed. Throws
 * a usage error when it is none, or larger than 64 MiB.
 */
export function readTarball(
  bytes: Uint8Array,
  name: string,
  { isWanted, maxFileBytes }: { readonly isWanted: (path: string) => boolean; readonly maxFileBytes: number },
): PackedFile[] {
  const tar = unpacked(bytes, name);
  const files: PackedFile[] = [];
  for (let at = 0; at + blockBytes <= tar.length; ) {
    const header = tar.subarray(at, at + blockBytes);
    if (header.every((byte) => byte === 0)) break;
    const size = Number.parseInt(textOf(header.subarray(124, 136)).trim() || "0", 8);
    if (!Number.isInteger(size) || size < 0 || at + blockBytes + size > tar.length) throw damaged(name);
    const prefix = textOf(header.subarray(345, 500));
    const whole = `${prefix === "" ? "" : `${prefix}/`}${textOf(header.subarray(0, 100))}`;
    const path = whole.replace(/^[^/]*\//, "");
    const type = header[156] ?? 0;
    // Zero, or the character 0: a plain file.
    if ((type === 0 || type === 48) && isWanted(path)) {
      if (size > maxFileBytes) throw usageError(`${path} of ${name} has more than ${maxFileBytes} bytes`);
      files.push({ path, text: tar.subarray(at + blockBytes, at + blockBytes + size).toString("utf8") });
    }
    at += blockBytes + Math.ceil(size / blockBytes) * blockBytes;
  }
  return files;
}

function unpacked(bytes: Uint8Array, name: string): Buffer {
  try {
    return gunzipSync(bytes, { maxOutputLength: maxUnpackedBytes });
  } catch {
    throw damaged(name);
  }
}

function damaged(name: string): Error {
  return usageError(`${name} is not a package: a gzipped tarball of at most 64 MiB`);
}

// Up to the first zero.
function textOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return Buffer.from(end === -1 ? bytes : bytes.subarray(0, end)).toString("utf8");
}

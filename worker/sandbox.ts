import { existsSync, lstatSync, readlinkSync } from "node:fs";

/** What a program sees and may do in a sandbox of bubblewrap. */
export interface SandboxOptions {
  /** The whole environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Where it starts. */
  readonly cwd: string;
  /** The network of the host; else none, not even another's loopback. */
  readonly hasNetwork: boolean;
  /** Shown besides the system's programs and libraries, read-only. */
  readonly readable: readonly string[];
  /** Shown as they are, to be changed: the working copy of the job's project. */
  readonly writable: readonly string[];
  /** Descriptor with the filter of system calls; undefined: there is none for this processor. */
  readonly filterDescriptor: number | undefined;
}

/** The home directory of a program in a sandbox. */
export const sandboxHome = "/home/job";

const temporaryBytes = 1024 * 1024 * 1024;
const sharedMemoryBytes = 64 * 1024 * 1024;
const roots = ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];
// What programs need to find libraries, names, hosts, certificates and the time zone; nothing that holds a secret.
const settings = [
  ...[
    "alternatives",
    "ca-certificates",
    "ca-certificates.conf",
    "group",
    "host.conf",
    "hosts",
    "ld.so.cache",
  ],
  ...["ld.so.conf", "ld.so.conf.d", "locale.alias", "localtime", "mime.types", "nsswitch.conf", "os-release"],
  ...["passwd", "pki", "protocols", "resolv.conf", "services", "ssl/certs", "ssl/openssl.cnf", "timezone"],
].map((name) => `/etc/${name}`);

/**
 * The parameters of `bwrap` before the program. Its root is empty and read-only but for what is named here: nothing of
 * the host's /home, /root, /run, /tmp, /var and /etc is there unless it is shown. All namespaces are its own; it dies
 * with its worker; it is cut off from the worker's terminal.
 */
export function sandboxParameters(options: SandboxOptions): string[] {
  const { env, cwd, hasNetwork, readable, writable, filterDescriptor } = options;
  return [
    ...["--unshare-user", "--disable-userns", "--unshare-ipc", "--unshare-pid", "--unshare-uts"],
    ...["--unshare-cgroup-try", ...(hasNetwork ? [] : ["--unshare-net"])],
    ...["--die-with-parent", "--new-session", "--hostname", "job"],
    ...["--ro-bind", "/usr", "/usr", ...roots.flatMap(rootEntry)],
    ...settings.flatMap((path) => ["--ro-bind-try", path, path]),
    ...["--proc", "/proc", "--dev", "/dev"],
    ...["--size", String(sharedMemoryBytes), "--perms", "1777", "--tmpfs", "/dev/shm"],
    ...["--size", String(temporaryBytes), "--perms", "1777", "--tmpfs", "/tmp"],
    ...["--size", String(temporaryBytes), "--tmpfs", sandboxHome],
    ...readable.flatMap((path) => ["--ro-bind", path, path]),
    ...writable.flatMap((path) => ["--bind", path, path]),
    ...["--remount-ro", "/", "--remount-ro", "/dev", "--chdir", cwd, "--clearenv"],
    ...Object.entries(env).flatMap(([name, value]) => ["--setenv", name, value]),
    ...(filterDescriptor === undefined ? [] : ["--seccomp", String(filterDescriptor)]),
  ];
}

// A link into /usr on most systems, a directory of its own on others.
function rootEntry(path: string): string[] {
  if (!existsSync(path)) return [];
  if (lstatSync(path).isSymbolicLink()) return ["--symlink", readlinkSync(path), path];
  return ["--ro-bind", path, path];
}

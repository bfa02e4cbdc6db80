import { accessSync, constants, existsSync } from "node:fs";
import { chown, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { text } from "node:stream/consumers";
import { type JobCgroup, openCgroups } from "./job-cgroup.ts";
import { JobUids } from "./job-uids.ts";
import { startProcessGroup } from "./process-group.ts";
import { ProcessStartError, type StartOptions } from "./process-start.ts";
import { sandboxHome, sandboxParameters } from "./sandbox.ts";
import { seccompFilter } from "./seccomp.ts";

/**
 * How far the programs of a job are kept from the machine, weakest first.
 *
 * - `none`: the worker's own user. Its environment is its own; the worker's files are not out of its reach.
 * - `uid`: a user that nothing else runs as, without a way back to another one. Needs a worker that is root.
 * - `bwrap`: a sandbox of bubblewrap, and that user too where the worker is root.
 */
export const isolationLevels = ["none", "uid", "bwrap"] as const;

export type IsolationLevel = (typeof isolationLevels)[number];

/** What the definition of a kind asks for. */
export interface KindIsolation {
  /** Counts where it is stronger than the worker's minimum. */
  readonly level?: IsolationLevel;
  /** In a sandbox: the network of the host, with its abstract sockets. Default false: none at all. */
  readonly network?: boolean;
}

/** What a worker is told about isolation. */
export interface IsolationOptions {
  /** No job's programs run under less. Default `none`. */
  readonly level?: IsolationLevel;
  /** By kind; counts besides what the handler itself asks for. */
  readonly kinds?: Readonly<Record<string, KindIsolation>>;
  /** First of the ids of users for jobs. Default 60600; ids up to 61183 belong to nobody on most systems. */
  readonly firstUid?: number;
  /** Shown in a sandbox, read-only, besides the system's programs and libraries. Absolute paths. */
  readonly paths?: readonly string[];
}

/** The isolation that holds for a kind. */
export interface HeldIsolation {
  readonly level: IsolationLevel;
  readonly hasNetwork: boolean;
}

/** Where the programs of one attempt run. */
export interface Place extends HeldIsolation {
  /** Their home and place for temporary files; undefined: the worker's own. */
  readonly home: string | undefined;
  /** Folder of their control group, where they have one. */
  readonly cgroup: JobCgroup | undefined;
  /** How such a program is started here. Throws a ProcessStartError when there is no such program. */
  startOptions(program: StartOptions): StartOptions;
  /** Once all processes are gone: what was made for them goes, too. */
  end(): Promise<void>;
}

/** The isolation of a worker: every level that it needs can be had. */
export interface Isolation {
  /** What holds for a kind. */
  of(kind: string): HeldIsolation;
  /**
   * A place for the programs of one attempt of a kind. In a sandbox the root of its project can be changed, if this
   * worker published it. Throws a ProcessStartError when there is no room for another.
   */
  begin(kind: string, projectRoot: string | undefined): Promise<Place>;
  /** Lets go of what no job uses. */
  close(): void;
}

/** A level cannot be had on this machine: nothing may run under less. */
export class IsolationError extends Error {
  override readonly name = "IsolationError";
  readonly code = "ISOLATION_UNAVAILABLE";
  readonly level: IsolationLevel;
  /** What to do about it, in one sentence. */
  readonly suggestion: string;

  constructor(level: IsolationLevel, why: string, suggestion: string) {
    super(`isolation level ${level} cannot be had here: ${why}. ${suggestion}`);
    this.level = level;
    this.suggestion = suggestion;
  }
}

/** What `openIsolation` needs of the worker. */
export interface IsolationSetup extends IsolationOptions {
  /** Jobs at once: as many ids of users are used. */
  readonly slots: number;
  /** The kinds that it takes. */
  readonly kindNames: readonly string[];
  /** Roots of working copies that it published: only these can be changed from a sandbox. */
  readonly writableRoots: () => readonly string[];
}

const defaultFirstUid = 60_600;
const mostProcesses = 512;
const trialMs = 10_000;
const never = new AbortController().signal;
const systemFolders = ["/usr/bin", "/bin", "/usr/sbin", "/sbin", "/usr/local/bin"];
// What the dynamic loader and the C library act on; they would act on it in the programs that set limits, too.
const loaderNames = /^(LD_|GLIBC_|GCONV_|LOCPATH$|LC_|LANG|NLSPATH$|MALLOC_)/;

/** What holds for a kind: the strongest of what the worker, and the kind, ask for. */
export function isolationOf(kind: string, { level = "none", kinds = {} }: IsolationOptions): HeldIsolation {
  const own = kinds[kind];
  const isStronger = isolationLevels.indexOf(own?.level ?? "none") > isolationLevels.indexOf(level);
  return { level: isStronger ? (own?.level ?? level) : level, hasNetwork: own?.network === true };
}

/** What two sides ask for, kind by kind: the stronger level, and the network where either asks for it. */
export function strongerKinds(
  first: Readonly<Record<string, KindIsolation>>,
  second: Readonly<Record<string, KindIsolation>>,
): Readonly<Record<string, KindIsolation>> {
  const names = new Set([...Object.keys(first), ...Object.keys(second)]);
  const both = [...names].map((name) => {
    const { level } = isolationOf(name, { kinds: second, level: first[name]?.level ?? "none" });
    return [
      name,
      { level, network: first[name]?.network === true || second[name]?.network === true },
    ] as const;
  });
  return Object.fromEntries(both);
}

/** Tries every level that the kinds need. Throws an IsolationError when one cannot be had. */
export async function openIsolation(setup: IsolationSetup): Promise<Isolation> {
  const uids = new JobUids({ first: setup.firstUid ?? defaultFirstUid, count: setup.slots });
  const held = setup.kindNames.map((kind) => isolationOf(kind, setup));
  const levels = new Set(held.map(({ level }) => level));
  const tools = levels.has("uid") || levels.has("bwrap") ? findTools(levels) : undefined;
  const isRoot = process.getuid?.() === 0;
  // Tried when it is first needed: many workers start no process at all.
  let cgroups: { readonly make: (() => JobCgroup) | undefined } | undefined;
  const begin = async (wanted: HeldIsolation, projectRoot?: string): Promise<Place> => {
    if (tools === undefined || wanted.level === "none") {
      cgroups ??= { make: openCgroups() };
      return openPlace(cgroups.make?.());
    }
    const uid = isRoot ? await uids.take() : undefined;
    if (isRoot && uid === undefined) throw noUid(setup);
    const release = async () => {
      if (uid !== undefined) await uids.release(uid);
    };
    if (wanted.level === "bwrap") {
      const writable = setup.writableRoots().filter((root) => root === projectRoot);
      return sandboxPlace({ ...wanted, tools, release, uid, writable, readable: setup.paths ?? [] });
    }
    return userPlace({ ...wanted, tools, uid: uid ?? 0, release });
  };
  try {
    for (const wanted of distinct(held)) if (wanted.level !== "none") await tryOut(wanted, begin);
  } catch (error) {
    uids.close();
    throw error;
  }
  return {
    of: (kind) => isolationOf(kind, setup),
    begin: (kind, projectRoot) => begin(isolationOf(kind, setup), projectRoot),
    close: () => uids.close(),
  };
}

interface Tools {
  readonly bwrap: string;
  readonly setpriv: string;
  readonly prlimit: string;
  readonly env: string;
}

function findTools(levels: ReadonlySet<IsolationLevel>): Tools {
  const strongest = levels.has("bwrap") ? "bwrap" : "uid";
  const level = levels.has("uid") ? "uid" : "bwrap";
  if (process.platform !== "linux")
    throw new IsolationError(level, `this is ${process.platform}`, "Use Linux, or level none.");
  if (levels.has("uid") && process.getuid?.() !== 0)
    throw new IsolationError("uid", "the worker is not root", "Run it as root, or use level bwrap.");
  const find = (name: string, inPackage: string, isNeeded: boolean) => {
    const path = systemFolders.map((folder) => join(folder, name)).find(isExecutable);
    if (path === undefined && isNeeded)
      throw new IsolationError(strongest, `there is no ${name}`, `Install the package ${inPackage}.`);
    return path ?? "";
  };
  return {
    bwrap: find("bwrap", "bubblewrap", levels.has("bwrap")),
    setpriv: find("setpriv", "util-linux", levels.has("uid")),
    prlimit: find("prlimit", "util-linux", true),
    env: find("env", "coreutils", true),
  };
}

function distinct(held: readonly HeldIsolation[]): HeldIsolation[] {
  return [...new Map(held.map((one) => [JSON.stringify(one), one])).values()];
}

// The very way in which a job starts, with a program that does nothing.
async function tryOut(
  wanted: HeldIsolation,
  begin: (wanted: HeldIsolation) => Promise<Place>,
): Promise<void> {
  const place = await begin(wanted);
  try {
    const program = { argv: ["/usr/bin/env"], env: { PATH: "/usr/bin:/bin" }, marker: "MUSTER_MARK=trial" };
    const group = startProcessGroup(place.startOptions(program));
    const timer = setTimeout(() => void group.stop({ graceMs: 0, signal: never }), trialMs);
    const [exit, said] = await Promise.all([
      group.exited.catch((error: unknown) => error),
      text(group.stderr).catch(() => ""),
    ]);
    clearTimeout(timer);
    await group.gone;
    if (isClean(exit)) return;
    const ended = exit instanceof Error ? exit.message : `a trial ended with ${JSON.stringify(exit)}`;
    const why = said.trim().split("\n")[0] || ended;
    const suggestion =
      wanted.level === "uid"
        ? "Run the worker as root of the machine, with ids of users that exist there."
        : "Allow user namespaces (kernel.unprivileged_userns_clone, AppArmor), and use bubblewrap 0.8 or newer.";
    throw new IsolationError(wanted.level, why, suggestion);
  } finally {
    await place.end();
  }
}

function isClean(exit: unknown): boolean {
  return typeof exit === "object" && exit !== null && "code" in exit && exit.code === 0;
}

function openPlace(cgroup: JobCgroup | undefined): Place {
  return {
    level: "none",
    hasNetwork: true,
    home: undefined,
    cgroup,
    startOptions: (program) => (cgroup === undefined ? program : { ...program, cgroup }),
    end: async () => cgroup?.remove(),
  };
}

interface PlaceParts extends HeldIsolation {
  readonly tools: Tools;
  readonly release: () => Promise<void>;
}

async function userPlace({ tools, uid, release }: PlaceParts & { readonly uid: number }): Promise<Place> {
  const home = await mkdtemp(join(tmpdir(), "muster-job-"));
  await chown(home, uid, uid);
  return {
    level: "uid",
    hasNetwork: true,
    home,
    cgroup: undefined,
    startOptions: (program) => {
      checkProgram(program, program.cwd ?? home);
      const { quiet, loud } = splitEnvironment(program.env);
      const limits = [tools.setpriv, "--no-new-privs", "--", ...limited(tools)];
      // Entered as that user: root could enter folders that are closed to it.
      const enter = [tools.env, "-C", program.cwd ?? home, ...loud];
      const { cwd: _cwd, ...rest } = program;
      return { ...rest, argv: [...limits, ...enter, ...program.argv], env: quiet, uid, cwd: home };
    },
    end: async () => {
      await rm(home, { recursive: true, force: true });
      await release();
    },
  };
}

interface SandboxParts extends PlaceParts {
  readonly uid: number | undefined;
  readonly readable: readonly string[];
  readonly writable: readonly string[];
}

function sandboxPlace(parts: SandboxParts): Place {
  const { tools, uid, hasNetwork, release, readable, writable } = parts;
  const filter = seccompFilter(process.arch);
  return {
    level: "bwrap",
    hasNetwork,
    home: sandboxHome,
    cgroup: undefined,
    startOptions: (program) => {
      checkProgram(program, undefined);
      const { quiet, loud } = splitEnvironment(program.env);
      const parameters = sandboxParameters({
        env: { ...quiet, ...markerEntry(program.marker) },
        cwd: program.cwd ?? sandboxHome,
        hasNetwork,
        readable,
        writable,
        filterDescriptor: filter === null ? undefined : 4,
      });
      const inner = [...limited(tools), tools.env, ...loud, ...program.argv];
      return {
        // The job's own environment is for inside: the loader would act on it out here.
        argv: [tools.bwrap, "--args", "3", "--", ...inner],
        env: {},
        cwd: "/",
        marker: program.marker,
        inputs: [Buffer.from(`${parameters.join("\0")}\0`), ...(filter === null ? [] : [filter])],
        isSandbox: true,
        ...(uid === undefined ? {} : { uid }),
      };
    },
    end: release,
  };
}

function limited({ prlimit }: Tools): string[] {
  return [prlimit, `--nproc=${mostProcesses}:${mostProcesses}`, "--core=0:0", "--"];
}

function splitEnvironment(env: Readonly<Record<string, string>>) {
  const entries = Object.entries(env);
  const loud = entries.filter(([name]) => loaderNames.test(name)).map(([name, value]) => `${name}=${value}`);
  return { quiet: Object.fromEntries(entries.filter(([name]) => !loaderNames.test(name))), loud };
}

function markerEntry(marker: string): Record<string, string> {
  const separator = marker.indexOf("=");
  return { [marker.slice(0, separator)]: marker.slice(separator + 1) };
}

// The programs that set limits would only say so by an exit code.
function checkProgram({ argv: [program = ""], env }: StartOptions, folder: string | undefined): void {
  const isPath = program.includes("/");
  if (isPath && folder === undefined) return;
  const folders = isPath ? [folder ?? "/"] : (env["PATH"] ?? "/usr/bin:/bin").split(":");
  if (program === "" || folders.some((one) => existsSync(resolve("/", one, program)))) return;
  const suggestion = "Name an installed program: a full path, or one in the PATH of the job's environment.";
  throw new ProcessStartError("NOT_FOUND", `cannot start "${program}": not found (ENOENT)`, suggestion);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function noUid({ firstUid = defaultFirstUid, slots }: IsolationSetup): ProcessStartError {
  const message = `no user is free for the job among the ids ${firstUid} to ${firstUid + slots - 1}`;
  return new ProcessStartError("NO_RESOURCES", message, "Give each worker of a machine ids of its own.");
}

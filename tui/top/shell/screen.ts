import type { DescService } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import type { Frame, Layout } from "../lines.ts";
import type { Freshness } from "../store/connection.ts";
import type { StatusState } from "../store/status.ts";
import type { Equal, KeyBinding } from "./bindings.ts";
import type { FilterSubject } from "./filter-terms.ts";
import type { KeyPress } from "./keys.ts";
import type { Settings, TimeFormat } from "./settings.ts";
import type { Toast } from "./toasts.ts";

/** The part of the terminal that a screen or an overlay draws, and the moment. */
export interface ScreenFrame extends Frame {
  /** Of the whole terminal, whatever part of it this is. */
  readonly layout: Layout;
  /** The server's clock, in milliseconds since 1970. */
  readonly nowMs: number;
  readonly time: TimeFormat;
  /** For screen readers: one line a fact, no boxes, no columns. */
  readonly isLinear: boolean;
}

/**
 * One screen of the console. It keeps its state outside of React; `view` is a function of that state and the
 * frame. While it is on top of the stack, `follow` runs; it starts again when the screen comes back.
 */
export interface Screen {
  /** Stable name: of the configuration, of tests. */
  readonly id: string;
  /** Its place in the breadcrumbs. May hold text of others: it is made safe when it is laid. */
  readonly title: () => string;
  /** All its keys. The same actions at any time; `when` says what can be done now. */
  readonly keys: () => readonly KeyBinding[];
  /** At most `frame.rows` lines, none wider than `frame.columns`. */
  readonly view: (frame: ScreenFrame) => string[];
  /** Keeps the data fresh until the signal. Never throws. */
  readonly follow?: (signal: AbortSignal) => Promise<void>;
  /** It shows the workers and running jobs of the status, which then are asked for. */
  readonly wantsDetail?: boolean;
  /** How fresh its data is; absent: as fresh as the status. */
  readonly freshness?: () => Freshness;
  /** How its data comes, where that is worth saying; empty when it is streamed. */
  readonly note?: () => string;
  /** The command line that prints the same. */
  readonly command: () => string;
  /** The commands and methods that showing it equals: for the list of all that the console can do. */
  readonly equals: readonly Equal[];
  /** What the filter line writes to; absent: it has no filter. */
  readonly filter?: FilterSubject;
  /** Holds rows where they are, for a reason by name; or lets them go. */
  readonly freeze?: (holder: string, isHeld: boolean) => void;
  /** Changes that the freeze holds back; undefined while it is live. */
  readonly frozen?: () => number | undefined;
  /** Esc: answers true when it had something to undo (marks, a search) before leaving. */
  readonly escape?: () => boolean;
  /** Keys that no table has: text of a form. Answers true when it took it. */
  readonly press?: (press: KeyPress) => boolean;
  /** Its rows are on their way: keys for them are kept until they are there. */
  readonly awaiting?: () => boolean;
  readonly paste?: (text: string) => void;
  /** The wheel, in rows. */
  readonly scroll?: (by: number) => void;
  /** A click on a line of the body, from 0; twice on the same row opens it. */
  readonly click?: (line: number, isDouble: boolean) => void;
  /** The id of what is under the cursor, for `y`; undefined without one. */
  readonly currentId?: () => string | undefined;
  /** More that can be copied, for `Y`: what it is, and its text. */
  readonly copies?: () => readonly (readonly [what: string, text: string])[];
}

/** Something above a screen: it takes every key until it is closed. */
export interface Overlay {
  readonly id: string;
  /** Where its lines go: over the end of the body, or in place of the bottom line. */
  readonly place: "body" | "footer";
  /** At most `frame.rows` lines. */
  readonly view: (frame: ScreenFrame) => string[];
  readonly press: (press: KeyPress) => void;
  readonly paste?: (text: string) => void;
  /** It is gone: calls under way end. */
  readonly closed?: () => void;
}

/** A view that a digit or the palette leads to. */
export interface ViewEntry {
  readonly id: string;
  /** `1` to `9`, `0`; empty: by the palette alone. */
  readonly key: string;
  readonly title: string;
  /** Other names that the palette knows it by. */
  readonly aliases?: readonly string[];
  readonly open: (shell: Shell) => Screen;
}

/** What the server allows. */
export type Scope = "read" | "submit" | "work" | "operate" | "admin";

/** What screens may do besides drawing. Made once; tests make their own. */
export interface Shell {
  readonly client: <T extends DescService>(service: T) => Client<T>;
  readonly settings: () => Settings;
  /** The clock of this machine. */
  readonly now: () => number;
  /** The server's clock, as far as known. */
  readonly serverNow: () => number;
  readonly status: () => StatusState;
  readonly views: readonly ViewEntry[];
  /** Data came: the screen is drawn soon. */
  readonly changed: () => void;
  /** Puts a screen on top. */
  readonly push: (screen: Screen) => void;
  /** Goes to a view; `arrange` gets its screen first, to set a filter. */
  readonly show: (viewId: string, arrange?: (screen: Screen) => void) => void;
  /** Leaves the screen on top. */
  readonly back: () => void;
  /** Follows the screen on top anew: its filter or page is another. */
  readonly restart: () => void;
  readonly open: (make: (close: () => void) => Overlay) => void;
  readonly say: (toast: Toast) => void;
  /** Copies to the clipboard of the terminal, and says so. */
  readonly copy: (text: string, what: string) => void;
  /** The text after the user's editor; undefined when it was left as it was, or could not be edited. */
  readonly edit: (text: string, extension: string) => Promise<string | undefined>;
  /** Writes a file of the user's; says where, or why not. */
  readonly save: (name: string, lines: Iterable<string>) => Promise<void>;
  /** Why something that needs this scope cannot be done now; undefined when it can. */
  readonly barrier: (scope: Scope) => string | undefined;
  /**
   * Does something on the server: counted, and what goes wrong is said. Answers undefined when it went wrong.
   * `requestId` makes a repetition safe. `refused` may take an error to show it elsewhere: then it answers true.
   */
  readonly act: <Answer>(
    run: (call: ActCall) => Promise<Answer>,
    refused?: (error: unknown) => boolean,
  ) => Promise<Answer | undefined>;
  /** A figure at the tab of a view; empty takes it away. */
  readonly badge: (viewId: string, text: string) => void;
}

/** What a call of an action is given. */
export interface ActCall {
  readonly requestId: string;
  readonly options: { readonly signal: AbortSignal; readonly timeoutMs: number };
}

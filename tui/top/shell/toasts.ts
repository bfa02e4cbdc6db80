/** A short message at the bottom of the screen. */
export interface Toast {
  readonly text: string;
  readonly kind: "info" | "done" | "warning" | "error";
  /** How the last mild action is undone. */
  readonly undo?: Undo;
}

/** The way back from a mild action. */
export interface Undo {
  /** What it does: `priority 128 again`. */
  readonly label: string;
  readonly run: () => void;
}

/** The message that is shown now, and what `u` undoes. */
export interface Toasts {
  readonly say: (toast: Toast, nowMs: number) => void;
  readonly current: (nowMs: number) => Toast | undefined;
  readonly undo: () => Undo | undefined;
  /** Takes the undo: it can be used once. */
  readonly takeUndo: () => Undo | undefined;
  readonly clear: () => void;
}

/** Time that a message stays, in milliseconds; errors stay until the next key after it. */
export const toastMs = 6_000;

/** Makes an empty place for messages. */
export function createToasts(): Toasts {
  let shown: { readonly toast: Toast; readonly untilMs: number } | undefined;
  let undo: Undo | undefined;
  return {
    say: (toast, nowMs) => {
      shown = { toast, untilMs: toast.kind === "error" ? Number.POSITIVE_INFINITY : nowMs + toastMs };
      // What was done last can be undone; a mere message takes nothing away.
      if (toast.kind === "done") undo = toast.undo;
    },
    current: (nowMs) => (shown !== undefined && nowMs < shown.untilMs ? shown.toast : undefined),
    undo: () => undo,
    takeUndo: () => {
      const taken = undo;
      undo = undefined;
      return taken;
    },
    clear: () => {
      shown = undefined;
    },
  };
}

import { Box, Text, useInput, useWindowSize } from "ink";
import { memo, type ReactNode, useSyncExternalStore } from "react";
import type { TopState, TopStore } from "./store.ts";

/** What the screen is given. */
export interface TopScreenProps {
  readonly store: TopStore;
  /** The lines of the whole screen, as many as it has rows. */
  readonly view: (state: TopState, columns: number, rows: number) => readonly string[];
  /** The user wants to leave: by `q`, or by Ctrl-C. */
  readonly onQuit: (by: "q" | "ctrl-c") => void;
}

/** The screen of `muster top`: one `<Text>` a row, drawn again when the store or the window changes. */
export function TopScreen({ store, view, onQuit }: TopScreenProps): ReactNode {
  const { columns, rows } = useWindowSize();
  const state = useSyncExternalStore(store.subscribe, store.getState);
  useInput((input, key) => {
    if (key.ctrl && input === "c") onQuit("ctrl-c");
    else if (input === "q" && !key.ctrl && !key.meta) onQuit("q");
  });
  // A frame as high as the window is always cleared whole on Windows consoles.
  const height = process.platform === "win32" ? rows - 1 : rows;
  return (
    <Box flexDirection="column" width={columns} height={height} overflow="hidden">
      {view(state, columns, height).map((line, row) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: a row is its place on the screen
        <Row key={row} line={line} />
      ))}
    </Box>
  );
}

const Row = memo(function Row({ line }: { readonly line: string }): ReactNode {
  return <Text wrap="truncate">{line === "" ? " " : line}</Text>;
});

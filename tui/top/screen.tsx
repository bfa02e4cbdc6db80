import { Box, Text, useApp, useInput, usePaste, useWindowSize } from "ink";
import { memo, type ReactNode, useEffect, useLayoutEffect, useSyncExternalStore } from "react";
import type { RowWriter } from "./row-writer.ts";
import { keyPresses } from "./shell/keys.ts";
import type { Console } from "./shell/shell.ts";

/** What the screen is given. */
export interface TopScreenProps {
  readonly console: Pick<Console, "publisher" | "lines" | "press" | "paste">;
  /** What shows the rows. Absent: Ink does, for a screen reader. */
  readonly writer?: RowWriter | undefined;
  /** Takes what gives the terminal to an editor, as soon as it is there. */
  readonly onSuspender?: (suspend: (during: () => Promise<void>) => Promise<void>) => void;
}

/**
 * The screen of `muster top`, drawn again when the console publishes or the window changes. Ink has the terminal: its
 * modes, its size, keys and pastes; the rows go past it.
 */
export function TopScreen({ console: shown, writer, onSuspender }: TopScreenProps): ReactNode {
  const { columns, rows } = useWindowSize();
  const { suspendTerminal } = useApp();
  useSyncExternalStore(shown.publisher.subscribe, shown.publisher.version);
  useInput((input, key) => {
    for (const press of keyPresses(input, key)) shown.press(press);
  });
  usePaste((text) => shown.paste(text));
  useEffect(
    () =>
      onSuspender?.((during) =>
        writer === undefined ? suspendTerminal(during) : writer.away(() => suspendTerminal(during)),
      ),
    [onSuspender, suspendTerminal, writer],
  );
  // A frame as high as the window scrolls on Windows consoles.
  const height = process.platform === "win32" ? rows - 1 : rows;
  useLayoutEffect(() => writer?.show(shown.lines(columns, height), columns));
  if (writer !== undefined) return null;
  return (
    <Box flexDirection="column" width={columns} height={height} overflow="hidden">
      {shown.lines(columns, height).map((line, row) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: a row is its place on the screen
        <Row key={row} line={line} />
      ))}
    </Box>
  );
}

const Row = memo(function Row({ line }: { readonly line: string }): ReactNode {
  return <Text wrap="truncate">{line === "" ? " " : line}</Text>;
});

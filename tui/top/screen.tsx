import { Box, Text, useApp, useInput, usePaste, useWindowSize } from "ink";
import { memo, type ReactNode, useEffect, useSyncExternalStore } from "react";
import { keyPresses } from "./shell/keys.ts";
import type { Console } from "./shell/shell.ts";

/** What the screen is given. */
export interface TopScreenProps {
  readonly console: Pick<Console, "publisher" | "lines" | "press" | "paste">;
  /** Takes what gives the terminal to an editor, as soon as it is there. */
  readonly onSuspender?: (suspend: (during: () => Promise<void>) => Promise<void>) => void;
}

/** The screen of `muster top`: one `<Text>` a row, drawn again when the console publishes or the window changes. */
export function TopScreen({ console: shown, onSuspender }: TopScreenProps): ReactNode {
  const { columns, rows } = useWindowSize();
  const { suspendTerminal } = useApp();
  useSyncExternalStore(shown.publisher.subscribe, shown.publisher.version);
  useInput((input, key) => {
    for (const press of keyPresses(input, key)) shown.press(press);
  });
  usePaste((text) => shown.paste(text));
  useEffect(() => onSuspender?.((during) => suspendTerminal(during)), [onSuspender, suspendTerminal]);
  // A frame as high as the window is always cleared whole on Windows consoles.
  const height = process.platform === "win32" ? rows - 1 : rows;
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

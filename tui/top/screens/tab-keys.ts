import type { KeyBinding } from "../shell/bindings.ts";

/** The keys that go through the tabs of a list. */
export function tabKeys<Tab>(
  what: string,
  tabs: readonly Tab[],
  { chosen, choose }: { readonly chosen: () => Tab; readonly choose: (tab: Tab) => void },
): KeyBinding[] {
  const step = (by: number): void => {
    const next = tabs[(tabs.indexOf(chosen()) + by + tabs.length) % tabs.length];
    if (tabs.length > 0) choose(next as Tab);
  };
  const key = (id: string, keys: readonly string[], label: string, by: number): KeyBinding => ({
    id,
    keys,
    label,
    group: "look",
    danger: "none",
    run: () => step(by),
  });
  return [
    key("tab.next", ["]", "tab"], `next ${what}`, 1),
    key("tab.previous", ["[", "shift-tab"], `previous ${what}`, -1),
  ];
}

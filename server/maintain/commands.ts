import { commandsOf } from "../store/commands.ts";
import { inOrg } from "../store/database.ts";
import type { SweepParts } from "./sweeps.ts";

/** Tells the workers of an org that are linked here what they have not acknowledged. */
export async function pushCommands(
  parts: Pick<SweepParts, "coordinator" | "dispatcher">,
  orgId: string,
): Promise<void> {
  const links = parts.dispatcher.linksOf(orgId);
  if (links.size === 0) return;
  const rows = await inOrg(parts.coordinator.db.sweep, orgId, (tx) =>
    commandsOf(tx, orgId, [...links.keys()]),
  );
  for (const command of rows) links.get(command.workerId)?.port.command(command);
}

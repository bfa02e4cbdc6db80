import type { Tx } from "./database.ts";
import { and, eq, inArray } from "./drizzle.ts";
import { commands } from "./schema-fleet.ts";

/** What a worker is told: to take nothing new, to take work again; or its link is to be made anew. */
export type CommandAction = "drain" | "resume" | "reattach";

/** A command that its worker has not acknowledged yet. */
export interface StoredCommand {
  readonly commandId: string;
  readonly workerId: string;
  readonly action: CommandAction;
}

/** Keeps a command until its worker acknowledges it, in place of what the worker was told before. */
export async function putCommand(tx: Tx, orgId: string, command: StoredCommand): Promise<void> {
  await dropCommands(tx, orgId, command.workerId);
  await tx.insert(commands).values({ orgId, ...command });
}

/** The commands of workers that they have not acknowledged. */
export function commandsOf(tx: Tx, orgId: string, workerIds: readonly string[]): Promise<StoredCommand[]> {
  return tx
    .select({ commandId: commands.commandId, workerId: commands.workerId, action: commands.action })
    .from(commands)
    .where(and(eq(commands.orgId, orgId), inArray(commands.workerId, [...workerIds])));
}

/** Forgets a command that was acknowledged. A newer one stays. */
export async function dropCommand(
  tx: Tx,
  orgId: string,
  { workerId, commandId }: Pick<StoredCommand, "workerId" | "commandId">,
): Promise<void> {
  await tx
    .delete(commands)
    .where(
      and(eq(commands.orgId, orgId), eq(commands.workerId, workerId), eq(commands.commandId, commandId)),
    );
}

/** Forgets all that a worker is told. */
export async function dropCommands(tx: Tx, orgId: string, workerId: string): Promise<void> {
  await tx.delete(commands).where(and(eq(commands.orgId, orgId), eq(commands.workerId, workerId)));
}

import postgres from "postgres";
import { raiseEpoch } from "./coordinators.ts";
import { drizzle } from "./drizzle.ts";

/**
 * Raises the cluster's epoch, after a failover to a replica that lost commits or a restore by other means; answers
 * with the new one. `url`: the database, as the owner of its tables. Migrates nothing.
 */
export async function promoteCluster(url: string): Promise<number> {
  const client = postgres(url, { max: 1, connect_timeout: 10, onnotice: () => {} });
  try {
    return await raiseEpoch(drizzle(client));
  } catch (error) {
    // Drizzle puts its own error around the one that tells what the server refuses.
    throw error instanceof Error && error.cause instanceof Error ? error.cause : error;
  } finally {
    await client.end({ timeout: 5 });
  }
}

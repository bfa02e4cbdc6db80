import type { TestDatabase } from "./database.ts";

/**
 * Inserts a row with some value in every column that must have one: for tests of what holds of every row, whatever is
 * in it. `given` are SQL expressions by column.
 */
export async function insertAnything(
  db: TestDatabase,
  table: string,
  orgId: string,
  given: Readonly<Record<string, string>> = {},
): Promise<void> {
  const columns = await db.admin<{ name: string; type: string }[]>`
    select column_name as name, udt_name as type from information_schema.columns
    where table_schema = 'muster' and table_name = ${table} and is_nullable = 'NO' and column_default is null
      and is_generated = 'NEVER'`;
  const own: Record<string, string> = { org_id: `'${orgId}'`, ...given };
  const rest = columns.filter(({ name }) => own[name] === undefined);
  const names = [...Object.keys(own), ...rest.map(({ name }) => name)];
  const values = [...Object.values(own), ...rest.map(({ type }) => anything(db, type))];
  await db.admin.unsafe(`insert into muster.${table} (${names.join(", ")}) values (${values.join(", ")})`);
}

function anything(db: TestDatabase, type: string): string {
  if (type.startsWith("_")) return "'{}'";
  switch (type) {
    case "uuid":
    case "text":
      return `'${db.newId()}'`;
    case "timestamptz":
      return "now()";
    case "date":
      return "current_date";
    case "bool":
      return "false";
    case "jsonb":
      return "'{}'";
    case "bytea":
      return "''";
    case "xid8":
      return "'1'";
    default:
      return "1";
  }
}

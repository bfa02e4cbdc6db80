import { defineConfig } from "drizzle-kit";

export default defineConfig({
  dialect: "postgresql",
  schema: ["./server/store/schema.ts", "./server/store/schema-fleet.ts"],
  out: "./server/store/migrations",
  schemaFilter: ["muster"],
});

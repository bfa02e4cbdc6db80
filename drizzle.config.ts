import { defineConfig } from "drizzle-kit";

export default defineConfig({
  dialect: "postgresql",
  schema: [
    "./server/store/schema.ts",
    "./server/store/schema-fleet.ts",
    "./server/store/schema-routing.ts",
    "./server/store/schema-people.ts",
    "./server/store/schema-stats.ts",
    "./server/store/schema-schedules.ts",
    "./server/store/schema-templates.ts",
    "./server/store/schema-alerts.ts",
    "./server/store/schema-events.ts",
    "./server/store/schema-skills.ts",
  ],
  out: "./server/store/migrations",
  schemaFilter: ["muster"],
});

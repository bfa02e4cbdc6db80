CREATE TABLE "muster"."skill_versions" (
	"org_id" uuid NOT NULL,
	"name" text NOT NULL,
	"digest" text NOT NULL,
	"body" text NOT NULL,
	"size_bytes" integer NOT NULL,
	"author" text NOT NULL,
	"put_at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	"replaced_at" timestamp with time zone,
	CONSTRAINT "skill_versions_org_id_name_digest_pk" PRIMARY KEY("org_id","name","digest")
);
--> statement-breakpoint
CREATE TABLE "muster"."skills" (
	"org_id" uuid NOT NULL,
	"name" text NOT NULL,
	"description" text NOT NULL,
	"digest" text NOT NULL,
	"author" text NOT NULL,
	"created_at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	"changed_at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	CONSTRAINT "skills_org_id_name_pk" PRIMARY KEY("org_id","name")
);
--> statement-breakpoint
ALTER TABLE "muster"."skills" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."skills" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."skills" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
GRANT SELECT, INSERT, UPDATE, DELETE ON "muster"."skills" TO "muster_app", "muster_hot", "muster_sweep";
--> statement-breakpoint
ALTER TABLE "muster"."skill_versions" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."skill_versions" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."skill_versions" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
GRANT SELECT, INSERT, UPDATE, DELETE ON "muster"."skill_versions" TO "muster_app", "muster_hot", "muster_sweep";

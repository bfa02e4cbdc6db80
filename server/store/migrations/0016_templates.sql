CREATE TABLE "muster"."template_ratings" (
	"org_id" uuid NOT NULL,
	"name" text NOT NULL,
	"author" text NOT NULL,
	"stars" integer NOT NULL,
	"note" text NOT NULL,
	"rated_at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	CONSTRAINT "template_ratings_org_id_name_author_pk" PRIMARY KEY("org_id","name","author")
);
--> statement-breakpoint
CREATE TABLE "muster"."templates" (
	"org_id" uuid NOT NULL,
	"name" text NOT NULL,
	"version" text NOT NULL,
	"description" text NOT NULL,
	"parameters" text NOT NULL,
	"job" text NOT NULL,
	"source" text NOT NULL,
	"source_sha256" text NOT NULL,
	"digest" text NOT NULL,
	"author" text NOT NULL,
	"created_at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	"changed_at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	CONSTRAINT "templates_org_id_name_pk" PRIMARY KEY("org_id","name")
);
--> statement-breakpoint
CREATE INDEX "template_ratings_by_time" ON "muster"."template_ratings" USING btree ("org_id","name","rated_at");
--> statement-breakpoint
ALTER TABLE "muster"."templates" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."templates" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."templates" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
GRANT SELECT, INSERT, UPDATE, DELETE ON "muster"."templates" TO "muster_app", "muster_hot", "muster_sweep";
--> statement-breakpoint
ALTER TABLE "muster"."template_ratings" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."template_ratings" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."template_ratings" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
GRANT SELECT, INSERT, UPDATE, DELETE ON "muster"."template_ratings" TO "muster_app", "muster_hot", "muster_sweep";

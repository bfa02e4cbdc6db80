CREATE TABLE "muster"."commands" (
	"org_id" uuid NOT NULL,
	"worker_id" uuid NOT NULL,
	"command_id" uuid NOT NULL,
	"action" text NOT NULL,
	"created_at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	CONSTRAINT "commands_org_id_worker_id_command_id_pk" PRIMARY KEY("org_id","worker_id","command_id")
);
--> statement-breakpoint
CREATE TABLE "muster"."worker_losses" (
	"org_id" uuid NOT NULL,
	"worker_id" uuid NOT NULL,
	"job_id" uuid NOT NULL,
	"lost_at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	CONSTRAINT "worker_losses_org_id_worker_id_job_id_pk" PRIMARY KEY("org_id","worker_id","job_id")
);
--> statement-breakpoint
ALTER TABLE "muster"."links" ADD COLUMN "suspect_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "muster"."links" ADD COLUMN "flips" integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "muster"."links" ADD COLUMN "flips_since" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "muster"."workers" ADD COLUMN "drain_requested_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "muster"."workers" ADD COLUMN "quarantined_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "muster"."workers" ADD COLUMN "quarantine_reason" text;--> statement-breakpoint
ALTER TABLE "muster"."commands" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."commands" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."commands" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
ALTER TABLE "muster"."worker_losses" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."worker_losses" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."worker_losses" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
GRANT SELECT, INSERT, UPDATE, DELETE ON "muster"."commands", "muster"."worker_losses" TO "muster_app", "muster_hot", "muster_sweep";

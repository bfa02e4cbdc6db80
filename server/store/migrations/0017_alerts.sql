CREATE TABLE "muster"."alert_channels" (
	"org_id" uuid NOT NULL,
	"name" text NOT NULL,
	"type" text NOT NULL,
	"target" jsonb NOT NULL,
	"secret" "bytea",
	"secret_hint" text NOT NULL,
	"is_disabled" boolean NOT NULL,
	"failures" integer DEFAULT 0 NOT NULL,
	"failing_since" timestamp with time zone,
	"last_error" text DEFAULT '' NOT NULL,
	"last_sent_at" timestamp with time zone,
	"created_at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	"updated_at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	CONSTRAINT "alert_channels_org_id_name_pk" PRIMARY KEY("org_id","name")
);
--> statement-breakpoint
CREATE TABLE "muster"."alert_deliveries" (
	"org_id" uuid NOT NULL,
	"delivery_id" uuid NOT NULL,
	"channel" text NOT NULL,
	"alert_ids" uuid[] NOT NULL,
	"event" text NOT NULL,
	"message" jsonb NOT NULL,
	"state" text DEFAULT 'pending' NOT NULL,
	"tries" integer DEFAULT 0 NOT NULL,
	"due_at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	"last_error" text DEFAULT '' NOT NULL,
	"created_at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	"sent_at" timestamp with time zone,
	CONSTRAINT "alert_deliveries_org_id_delivery_id_pk" PRIMARY KEY("org_id","delivery_id")
);
--> statement-breakpoint
CREATE TABLE "muster"."alert_rules" (
	"org_id" uuid NOT NULL,
	"name" text NOT NULL,
	"definition" jsonb NOT NULL,
	"is_disabled" boolean NOT NULL,
	"due_at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	"cursor" text NOT NULL,
	"last_fired_at" timestamp with time zone,
	"created_at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	"updated_at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	CONSTRAINT "alert_rules_org_id_name_pk" PRIMARY KEY("org_id","name")
);
--> statement-breakpoint
CREATE TABLE "muster"."alert_silences" (
	"org_id" uuid NOT NULL,
	"rule" text NOT NULL,
	"group_key" text NOT NULL,
	"ends_at" timestamp with time zone NOT NULL,
	"reason" text NOT NULL,
	"creator" text NOT NULL,
	"created_at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	CONSTRAINT "alert_silences_org_id_rule_group_key_pk" PRIMARY KEY("org_id","rule","group_key")
);
--> statement-breakpoint
CREATE TABLE "muster"."alert_states" (
	"org_id" uuid NOT NULL,
	"rule" text NOT NULL,
	"group_key" text NOT NULL,
	"alert_id" uuid,
	"counts" jsonb,
	"notified_at" timestamp with time zone,
	"updated_at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	CONSTRAINT "alert_states_org_id_rule_group_key_pk" PRIMARY KEY("org_id","rule","group_key")
);
--> statement-breakpoint
CREATE TABLE "muster"."alerts" (
	"org_id" uuid NOT NULL,
	"alert_id" uuid NOT NULL,
	"rule" text NOT NULL,
	"condition" text NOT NULL,
	"group_key" text NOT NULL,
	"severity" text NOT NULL,
	"summary" text NOT NULL,
	"value" double precision NOT NULL,
	"occurrences" bigint NOT NULL,
	"told" bigint DEFAULT 0 NOT NULL,
	"job_ids" uuid[] NOT NULL,
	"started_at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	"ended_at" timestamp with time zone,
	"notified_at" timestamp with time zone,
	"is_silenced" boolean DEFAULT false NOT NULL,
	CONSTRAINT "alerts_org_id_alert_id_pk" PRIMARY KEY("org_id","alert_id")
);
--> statement-breakpoint
CREATE INDEX "alert_channels_failing" ON "muster"."alert_channels" USING btree ("org_id","name") WHERE failing_since is not null;--> statement-breakpoint
CREATE INDEX "alert_deliveries_due" ON "muster"."alert_deliveries" USING btree ("org_id","due_at") WHERE state = 'pending';--> statement-breakpoint
CREATE INDEX "alert_rules_due" ON "muster"."alert_rules" USING btree ("org_id","due_at") WHERE not is_disabled;--> statement-breakpoint
CREATE INDEX "alerts_by_rule" ON "muster"."alerts" USING btree ("org_id","rule","alert_id" DESC NULLS FIRST);--> statement-breakpoint
CREATE INDEX "alerts_firing" ON "muster"."alerts" USING btree ("org_id","alert_id") WHERE ended_at is null;
--> statement-breakpoint
ALTER TABLE "muster"."alert_rules" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."alert_rules" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."alert_rules" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
GRANT SELECT, INSERT, UPDATE, DELETE ON "muster"."alert_rules" TO "muster_app", "muster_hot", "muster_sweep";
--> statement-breakpoint
ALTER TABLE "muster"."alert_states" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."alert_states" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."alert_states" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
GRANT SELECT, INSERT, UPDATE, DELETE ON "muster"."alert_states" TO "muster_app", "muster_hot", "muster_sweep";
--> statement-breakpoint
ALTER TABLE "muster"."alerts" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."alerts" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."alerts" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
GRANT SELECT, INSERT, UPDATE, DELETE ON "muster"."alerts" TO "muster_app", "muster_hot", "muster_sweep";
--> statement-breakpoint
ALTER TABLE "muster"."alert_channels" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."alert_channels" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."alert_channels" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
GRANT SELECT, INSERT, UPDATE, DELETE ON "muster"."alert_channels" TO "muster_app", "muster_hot", "muster_sweep";
--> statement-breakpoint
ALTER TABLE "muster"."alert_silences" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."alert_silences" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."alert_silences" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
GRANT SELECT, INSERT, UPDATE, DELETE ON "muster"."alert_silences" TO "muster_app", "muster_hot", "muster_sweep";
--> statement-breakpoint
ALTER TABLE "muster"."alert_deliveries" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."alert_deliveries" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."alert_deliveries" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
GRANT SELECT, INSERT, UPDATE, DELETE ON "muster"."alert_deliveries" TO "muster_app", "muster_hot", "muster_sweep";

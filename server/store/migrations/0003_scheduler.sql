CREATE TABLE "muster"."edges" (
	"org_id" uuid NOT NULL,
	"parent_id" uuid NOT NULL,
	"child_id" uuid NOT NULL,
	CONSTRAINT "edges_org_id_parent_id_child_id_pk" PRIMARY KEY("org_id","parent_id","child_id")
);
--> statement-breakpoint
CREATE TABLE "muster"."gates" (
	"org_id" uuid NOT NULL,
	"key" text NOT NULL,
	"used" integer NOT NULL,
	"max_used" integer,
	"paused_at" timestamp with time zone,
	"pause_reason" text,
	"resume_at" timestamp with time zone,
	"rate_jobs" integer,
	"rate_period_ms" integer,
	"tokens" double precision DEFAULT 0 NOT NULL,
	"tokens_at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	"created_at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	"counted_at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	CONSTRAINT "gates_org_id_key_pk" PRIMARY KEY("org_id","key")
);
--> statement-breakpoint
CREATE TABLE "muster"."linked_projects" (
	"org_id" uuid NOT NULL,
	"project" text NOT NULL,
	"worker_id" uuid NOT NULL,
	"root" text NOT NULL,
	"remote_url" text NOT NULL,
	"linked_at" timestamp with time zone,
	"linked_by" text NOT NULL,
	CONSTRAINT "linked_projects_org_id_project_worker_id_pk" PRIMARY KEY("org_id","project","worker_id")
);
--> statement-breakpoint
CREATE TABLE "muster"."releases" (
	"org_id" uuid NOT NULL,
	"parent_id" uuid NOT NULL,
	"state" smallint NOT NULL,
	"created_at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	CONSTRAINT "releases_org_id_parent_id_pk" PRIMARY KEY("org_id","parent_id")
);
--> statement-breakpoint
CREATE TABLE "muster"."sessions" (
	"org_id" uuid NOT NULL,
	"session_id" text NOT NULL,
	"worker_id" uuid NOT NULL,
	"project" text,
	"label" text NOT NULL,
	"agent" text NOT NULL,
	"agent_session_id" text NOT NULL,
	"state" smallint NOT NULL,
	"role" text NOT NULL,
	"terminal_target" text NOT NULL,
	"active_at" timestamp with time zone,
	"registered_at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	"is_primary" boolean NOT NULL,
	"says_primary" boolean NOT NULL,
	"is_published" boolean NOT NULL,
	"is_archived" boolean NOT NULL,
	"archived_at" timestamp with time zone,
	"contested_by" uuid,
	"contested_at" timestamp with time zone,
	CONSTRAINT "sessions_org_id_session_id_pk" PRIMARY KEY("org_id","session_id")
);
--> statement-breakpoint
DROP INDEX "muster"."pull_requests_open";
--> statement-breakpoint
ALTER TABLE "muster"."tallies" DROP CONSTRAINT "tallies_org_id_tally_id_pk";
--> statement-breakpoint
ALTER TABLE "muster"."attempts" ADD COLUMN "session_id" text;
--> statement-breakpoint
ALTER TABLE "muster"."job_queue" ADD COLUMN "has_dependants" boolean DEFAULT false NOT NULL;
--> statement-breakpoint
ALTER TABLE "muster"."job_queue" ADD COLUMN "is_pool_parked" boolean DEFAULT false NOT NULL;
--> statement-breakpoint
ALTER TABLE "muster"."job_queue" ADD COLUMN "session_id" text;
--> statement-breakpoint
ALTER TABLE "muster"."jobs" ADD COLUMN "target" text;
--> statement-breakpoint
ALTER TABLE "muster"."jobs" ADD COLUMN "depends_on" uuid[];
--> statement-breakpoint
ALTER TABLE "muster"."jobs" ADD COLUMN "dependency_policy" text;
--> statement-breakpoint
ALTER TABLE "muster"."shapes" ADD COLUMN "target" text;
--> statement-breakpoint
ALTER TABLE "muster"."tallies" ADD COLUMN "blocked" bigint DEFAULT 0 NOT NULL;
--> statement-breakpoint
ALTER TABLE "muster"."tallies" ADD COLUMN "scheduled" bigint DEFAULT 0 NOT NULL;
--> statement-breakpoint
ALTER TABLE "muster"."tallies" ADD COLUMN "ready" bigint DEFAULT 0 NOT NULL;
--> statement-breakpoint
ALTER TABLE "muster"."tallies" ADD COLUMN "offered" bigint DEFAULT 0 NOT NULL;
--> statement-breakpoint
ALTER TABLE "muster"."tallies" ADD COLUMN "running" bigint DEFAULT 0 NOT NULL;
--> statement-breakpoint
ALTER TABLE "muster"."tallies" ADD COLUMN "parked" bigint DEFAULT 0 NOT NULL;
--> statement-breakpoint
ALTER TABLE "muster"."tallies" ADD COLUMN "queue" text DEFAULT 'default' NOT NULL;
--> statement-breakpoint
ALTER TABLE "muster"."tallies" ALTER COLUMN "queue" DROP DEFAULT;
--> statement-breakpoint
ALTER TABLE "muster"."tallies" ADD CONSTRAINT "tallies_org_id_tally_id_queue_pk" PRIMARY KEY("org_id","tally_id","queue");
--> statement-breakpoint
ALTER TABLE "muster"."orgs" ADD COLUMN "gates_version" bigint DEFAULT 0 NOT NULL;
--> statement-breakpoint
ALTER TABLE "muster"."projects" ADD COLUMN "repository" text;
--> statement-breakpoint
ALTER TABLE "muster"."pull_requests" ADD COLUMN "is_merged" boolean DEFAULT false NOT NULL;
--> statement-breakpoint
ALTER TABLE "muster"."pull_requests" ADD COLUMN "is_counted" boolean DEFAULT true NOT NULL;
--> statement-breakpoint
ALTER TABLE "muster"."pull_requests" ADD COLUMN "changed_at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL;
--> statement-breakpoint
ALTER TABLE "muster"."pull_requests" ADD COLUMN "said_at" timestamp with time zone;
--> statement-breakpoint
CREATE INDEX "edges_by_child" ON "muster"."edges" USING btree ("org_id","child_id");
--> statement-breakpoint
CREATE INDEX "linked_projects_by_worker" ON "muster"."linked_projects" USING btree ("org_id","worker_id");
--> statement-breakpoint
CREATE UNIQUE INDEX "sessions_primary" ON "muster"."sessions" USING btree ("org_id","project") WHERE is_primary;
--> statement-breakpoint
CREATE INDEX "sessions_by_project" ON "muster"."sessions" USING btree ("org_id","project","registered_at");
--> statement-breakpoint
CREATE INDEX "sessions_by_worker" ON "muster"."sessions" USING btree ("org_id","worker_id");
--> statement-breakpoint
CREATE INDEX "job_queue_pool_parked" ON "muster"."job_queue" USING btree ("org_id","job_id") WHERE is_pool_parked;
--> statement-breakpoint
CREATE INDEX "sessions_contested" ON "muster"."sessions" USING btree ("org_id","contested_at") WHERE contested_at is not null;
--> statement-breakpoint
CREATE INDEX "job_queue_trouble" ON "muster"."job_queue" USING btree ("org_id","job_id") WHERE failures >= 3 or losses >= 3;
--> statement-breakpoint
CREATE INDEX "pull_requests_by_time" ON "muster"."pull_requests" USING btree ("org_id","created_at" DESC NULLS FIRST,"url");
--> statement-breakpoint
CREATE INDEX "pull_requests_open" ON "muster"."pull_requests" USING btree ("org_id","project") WHERE is_open and is_counted;
--> statement-breakpoint
ALTER TABLE "muster"."edges" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."edges" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."edges" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
ALTER TABLE "muster"."gates" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."gates" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."gates" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
ALTER TABLE "muster"."linked_projects" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."linked_projects" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."linked_projects" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
ALTER TABLE "muster"."releases" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."releases" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."releases" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
ALTER TABLE "muster"."sessions" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."sessions" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."sessions" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
GRANT SELECT, INSERT, UPDATE, DELETE ON "muster"."edges", "muster"."gates", "muster"."linked_projects", "muster"."releases", "muster"."sessions" TO "muster_app", "muster_hot", "muster_sweep";
--> statement-breakpoint
GRANT UPDATE ("gates_version") ON "muster"."orgs" TO "muster_app", "muster_hot", "muster_sweep";
--> statement-breakpoint
-- What stands now is the sum of all tallies: jobs that are there already are counted in.
ALTER TABLE "muster"."tallies" NO FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."job_queue" NO FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."shapes" NO FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
INSERT INTO "muster"."tallies" ("org_id", "tally_id", "queue", "submitted", "succeeded", "cancelled", "dead", "blocked", "scheduled", "ready", "offered", "running", "parked")
SELECT x."org_id", gen_random_uuid(), s."queue", 0, 0, 0, 0, count(*) FILTER (WHERE x."state" = 1), count(*) FILTER (WHERE x."state" = 2), count(*) FILTER (WHERE x."state" = 3), count(*) FILTER (WHERE x."state" = 4), count(*) FILTER (WHERE x."state" = 5), count(*) FILTER (WHERE x."state" = 6)
FROM "muster"."job_queue" x JOIN "muster"."shapes" s ON s."org_id" = x."org_id" AND s."shape_id" = x."shape_id" GROUP BY x."org_id", s."queue";
--> statement-breakpoint
ALTER TABLE "muster"."tallies" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."job_queue" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."shapes" FORCE ROW LEVEL SECURITY;

CREATE FUNCTION "muster"."muster_clock"() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE AS 'SELECT statement_timestamp()';
--> statement-breakpoint
CREATE TABLE "muster"."artifacts" (
	"org_id" uuid NOT NULL,
	"artifact_id" uuid NOT NULL,
	"job_id" uuid NOT NULL,
	"attempt" integer NOT NULL,
	"name" text NOT NULL,
	"content_type" text NOT NULL,
	"size_bytes" bigint NOT NULL,
	"sha256" text NOT NULL,
	"created_at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	CONSTRAINT "artifacts_org_id_artifact_id_pk" PRIMARY KEY("org_id","artifact_id")
);
--> statement-breakpoint
CREATE TABLE "muster"."attempts" (
	"org_id" uuid NOT NULL,
	"job_id" uuid NOT NULL,
	"attempt" integer NOT NULL,
	"generation" integer NOT NULL,
	"granted_at" timestamp with time zone,
	"ended_at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	"worker_id" uuid,
	"lease_id" uuid,
	"result_id" uuid,
	"outcome" smallint NOT NULL,
	"state" smallint,
	"failures" smallint NOT NULL,
	"losses" smallint NOT NULL,
	"releases" smallint NOT NULL,
	"final" boolean NOT NULL,
	"result" "bytea",
	"error_code" text,
	"error_message" text,
	"error_detail" text,
	"pr_url" text,
	"reason" text,
	"last_sequence" bigint,
	CONSTRAINT "attempts_org_id_job_id_attempt_pk" PRIMARY KEY("org_id","job_id","attempt")
) PARTITION BY RANGE ("job_id");
--> statement-breakpoint
CREATE TABLE "muster"."batches" (
	"org_id" uuid NOT NULL,
	"batch_id" uuid NOT NULL,
	"title" text NOT NULL,
	"first_job_id" uuid NOT NULL,
	"last_job_id" uuid NOT NULL,
	"total" integer NOT NULL,
	"pending" integer NOT NULL,
	"succeeded" integer DEFAULT 0 NOT NULL,
	"cancelled" integer DEFAULT 0 NOT NULL,
	"dead" integer DEFAULT 0 NOT NULL,
	"created_at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	CONSTRAINT "batches_org_id_batch_id_pk" PRIMARY KEY("org_id","batch_id")
);
--> statement-breakpoint
CREATE TABLE "muster"."changes" (
	"org_id" uuid NOT NULL,
	"xid" "xid8" DEFAULT pg_current_xact_id() NOT NULL,
	"n" smallint NOT NULL,
	"at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	"job_ids" uuid[] NOT NULL,
	"states" smallint[] NOT NULL,
	"attempts" integer[] NOT NULL,
	"worker_ids" uuid[] NOT NULL,
	CONSTRAINT "changes_org_id_xid_n_pk" PRIMARY KEY("org_id","xid","n")
);
--> statement-breakpoint
CREATE TABLE "muster"."dead_letters" (
	"org_id" uuid NOT NULL,
	"job_id" uuid NOT NULL,
	"generation" integer NOT NULL,
	"cause" text NOT NULL,
	"fingerprint" text NOT NULL,
	"kind" text NOT NULL,
	"dead_at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	CONSTRAINT "dead_letters_org_id_job_id_pk" PRIMARY KEY("org_id","job_id")
);
--> statement-breakpoint
CREATE TABLE "muster"."job_keys" (
	"org_id" uuid NOT NULL,
	"type" text NOT NULL,
	"key" text NOT NULL,
	"target_id" uuid NOT NULL,
	"fingerprint" "bytea" NOT NULL,
	"expires_at" timestamp with time zone,
	CONSTRAINT "job_keys_org_id_type_key_pk" PRIMARY KEY("org_id","type","key")
);
--> statement-breakpoint
CREATE TABLE "muster"."job_queue" (
	"org_id" uuid NOT NULL,
	"job_id" uuid NOT NULL,
	"shape_id" bigint NOT NULL,
	"ready_at" timestamp with time zone,
	"wake_at" timestamp with time zone,
	"deadline" timestamp with time zone,
	"granted_at" timestamp with time zone,
	"cancel_requested_at" timestamp with time zone,
	"lease_id" uuid,
	"worker_id" uuid,
	"batch_id" uuid,
	"attempt" integer DEFAULT 0 NOT NULL,
	"generation" integer DEFAULT 1 NOT NULL,
	"waiting_on" integer DEFAULT 0 NOT NULL,
	"points" integer NOT NULL,
	"reclaim_after_ms" integer NOT NULL,
	"lease_ttl_ms" integer NOT NULL,
	"state" smallint NOT NULL,
	"priority" smallint NOT NULL,
	"failures" smallint DEFAULT 0 NOT NULL,
	"losses" smallint DEFAULT 0 NOT NULL,
	"releases" smallint DEFAULT 0 NOT NULL,
	"reason" text,
	CONSTRAINT "job_queue_org_id_job_id_pk" PRIMARY KEY("org_id","job_id")
) WITH (fillfactor=60, autovacuum_vacuum_scale_factor=0.01, autovacuum_vacuum_cost_delay=0);
--> statement-breakpoint
CREATE TABLE "muster"."jobs" (
	"org_id" uuid NOT NULL,
	"job_id" uuid NOT NULL,
	"batch_id" uuid,
	"parent_job_id" uuid,
	"created_at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	"run_at" timestamp with time zone,
	"deadline" timestamp with time zone,
	"points" integer NOT NULL,
	"soft_timeout_ms" integer,
	"hard_timeout_ms" integer,
	"lease_ttl_ms" integer NOT NULL,
	"reclaim_after_ms" integer NOT NULL,
	"max_attempts" integer NOT NULL,
	"backoff_initial_ms" integer NOT NULL,
	"backoff_max_ms" integer NOT NULL,
	"backoff_factor" double precision NOT NULL,
	"priority" smallint NOT NULL,
	"exclusive" boolean NOT NULL,
	"at_most_once" boolean NOT NULL,
	"opens_pull_request" boolean NOT NULL,
	"kind" text NOT NULL,
	"queue" text NOT NULL,
	"title" text NOT NULL,
	"payload" "bytea" NOT NULL,
	"skills" text[],
	"instructions" text[],
	"labels" jsonb,
	"project" text,
	"pool" text,
	"external_id" text,
	"idempotency_key" text,
	"submitted_by" text NOT NULL,
	CONSTRAINT "jobs_org_id_job_id_pk" PRIMARY KEY("org_id","job_id")
) PARTITION BY RANGE ("job_id");
--> statement-breakpoint
CREATE TABLE "muster"."late_results" (
	"org_id" uuid NOT NULL,
	"result_id" uuid NOT NULL,
	"job_id" uuid NOT NULL,
	"attempt" integer NOT NULL,
	"lease_id" uuid NOT NULL,
	"worker_id" uuid NOT NULL,
	"outcome" smallint NOT NULL,
	"result" "bytea",
	"error_message" text,
	"received_at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	CONSTRAINT "late_results_org_id_result_id_pk" PRIMARY KEY("org_id","result_id")
);
--> statement-breakpoint
CREATE TABLE "muster"."log_chunks" (
	"org_id" uuid NOT NULL,
	"day" date NOT NULL,
	"job_id" uuid NOT NULL,
	"attempt" integer NOT NULL,
	"first_sequence" bigint NOT NULL,
	"last_sequence" bigint NOT NULL,
	"is_compressed" boolean NOT NULL,
	"body" "bytea" NOT NULL,
	CONSTRAINT "log_chunks_org_id_job_id_attempt_first_sequence_day_pk" PRIMARY KEY("org_id","job_id","attempt","first_sequence","day")
) PARTITION BY RANGE ("day");
--> statement-breakpoint
CREATE TABLE "muster"."progress" (
	"org_id" uuid NOT NULL,
	"job_id" uuid NOT NULL,
	"attempt" integer NOT NULL,
	"fraction" double precision,
	"message" text NOT NULL,
	"updated_at" timestamp with time zone NOT NULL,
	CONSTRAINT "progress_org_id_job_id_pk" PRIMARY KEY("org_id","job_id")
) WITH (fillfactor=60, autovacuum_vacuum_scale_factor=0.01);
--> statement-breakpoint
CREATE TABLE "muster"."shapes" (
	"org_id" uuid NOT NULL,
	"shape_id" bigint NOT NULL,
	"kind" text NOT NULL,
	"queue" text NOT NULL,
	"skills" text[] NOT NULL,
	"points" integer NOT NULL,
	"pool" text,
	"project" text,
	"avoid" uuid[] NOT NULL,
	"alone" boolean NOT NULL,
	"created_at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	CONSTRAINT "shapes_org_id_shape_id_pk" PRIMARY KEY("org_id","shape_id")
);
--> statement-breakpoint
CREATE TABLE "muster"."tallies" (
	"org_id" uuid NOT NULL,
	"tally_id" uuid NOT NULL,
	"at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	"submitted" bigint NOT NULL,
	"succeeded" bigint NOT NULL,
	"cancelled" bigint NOT NULL,
	"dead" bigint NOT NULL,
	CONSTRAINT "tallies_org_id_tally_id_pk" PRIMARY KEY("org_id","tally_id")
);
--> statement-breakpoint
CREATE TABLE "muster"."api_keys" (
	"org_id" uuid NOT NULL,
	"key_id" text NOT NULL,
	"type" text NOT NULL,
	"name" text NOT NULL,
	"scopes" text[] NOT NULL,
	"hash" "bytea" NOT NULL,
	"worker_id" uuid,
	"created_at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	"expires_at" timestamp with time zone,
	"revoked_at" timestamp with time zone,
	CONSTRAINT "api_keys_org_id_key_id_pk" PRIMARY KEY("org_id","key_id"),
	CONSTRAINT "api_keys_key_id_unique" UNIQUE("key_id")
);
--> statement-breakpoint
CREATE TABLE "muster"."audit_log" (
	"org_id" uuid NOT NULL,
	"audit_id" uuid NOT NULL,
	"at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	"actor" text NOT NULL,
	"action" text NOT NULL,
	"target" text NOT NULL,
	"reason" text NOT NULL,
	"request_id" text NOT NULL,
	"details" jsonb NOT NULL,
	CONSTRAINT "audit_log_org_id_audit_id_pk" PRIMARY KEY("org_id","audit_id")
);
--> statement-breakpoint
CREATE TABLE "muster"."cluster" (
	"id" integer PRIMARY KEY NOT NULL,
	"epoch" bigint NOT NULL
);
--> statement-breakpoint
CREATE TABLE "muster"."coordinators" (
	"coordinator_id" uuid PRIMARY KEY NOT NULL,
	"api_address" text NOT NULL,
	"version" text NOT NULL,
	"started_at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	"seen_at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	"links" integer DEFAULT 0 NOT NULL
);
--> statement-breakpoint
CREATE TABLE "muster"."links" (
	"org_id" uuid NOT NULL,
	"worker_id" uuid NOT NULL,
	"boot_id" uuid NOT NULL,
	"host_boot_id" text NOT NULL,
	"link_epoch" bigint NOT NULL,
	"coordinator_id" uuid NOT NULL,
	"seen_at" timestamp with time zone NOT NULL,
	"connected_at" timestamp with time zone NOT NULL,
	"transport" text NOT NULL,
	"is_attached" boolean NOT NULL,
	"is_draining" boolean NOT NULL,
	CONSTRAINT "links_org_id_worker_id_pk" PRIMARY KEY("org_id","worker_id")
) WITH (fillfactor=60, autovacuum_vacuum_scale_factor=0.01);
--> statement-breakpoint
CREATE TABLE "muster"."orgs" (
	"org_id" uuid PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"created_at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	CONSTRAINT "orgs_name_unique" UNIQUE("name")
);
--> statement-breakpoint
CREATE TABLE "muster"."projects" (
	"org_id" uuid NOT NULL,
	"name" text NOT NULL,
	"max_open_prs" integer,
	"created_at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	CONSTRAINT "projects_org_id_name_pk" PRIMARY KEY("org_id","name")
);
--> statement-breakpoint
CREATE TABLE "muster"."pull_requests" (
	"org_id" uuid NOT NULL,
	"url" text NOT NULL,
	"project" text NOT NULL,
	"job_id" uuid NOT NULL,
	"is_open" boolean DEFAULT true NOT NULL,
	"created_at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	CONSTRAINT "pull_requests_org_id_url_pk" PRIMARY KEY("org_id","url")
);
--> statement-breakpoint
CREATE TABLE "muster"."settings" (
	"org_id" uuid NOT NULL,
	"scope" text NOT NULL,
	"name" text NOT NULL,
	"reclaim_after_ms" integer,
	"lease_ttl_ms" integer,
	"max_attempts" integer,
	"backoff_initial_ms" integer,
	"backoff_max_ms" integer,
	"backoff_factor" double precision,
	CONSTRAINT "settings_org_id_scope_name_pk" PRIMARY KEY("org_id","scope","name")
);
--> statement-breakpoint
CREATE TABLE "muster"."workers" (
	"org_id" uuid NOT NULL,
	"worker_id" uuid NOT NULL,
	"name" text NOT NULL,
	"disabled_at" timestamp with time zone,
	"skills" jsonb DEFAULT '[]'::jsonb NOT NULL,
	"kinds" text[] DEFAULT '{}' NOT NULL,
	"slots" integer DEFAULT 0 NOT NULL,
	"points" integer DEFAULT 0 NOT NULL,
	"labels" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"version" text DEFAULT '' NOT NULL,
	"host" text DEFAULT '' NOT NULL,
	"created_at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	CONSTRAINT "workers_org_id_worker_id_pk" PRIMARY KEY("org_id","worker_id")
);
--> statement-breakpoint
CREATE INDEX "artifacts_by_job" ON "muster"."artifacts" USING btree ("org_id","job_id");--> statement-breakpoint
CREATE UNIQUE INDEX "attempts_final" ON "muster"."attempts" USING btree ("org_id","job_id","generation") WHERE final;--> statement-breakpoint
CREATE INDEX "dead_letters_by_time" ON "muster"."dead_letters" USING btree ("org_id","dead_at" DESC NULLS FIRST);--> statement-breakpoint
CREATE INDEX "job_keys_expiry" ON "muster"."job_keys" USING btree ("org_id","expires_at") WHERE expires_at is not null;--> statement-breakpoint
CREATE INDEX "job_queue_ready" ON "muster"."job_queue" USING btree ("org_id","shape_id","priority" DESC NULLS FIRST,"ready_at","job_id") WHERE state = 3;--> statement-breakpoint
CREATE INDEX "job_queue_wake" ON "muster"."job_queue" USING btree ("org_id","wake_at") WHERE wake_at is not null;--> statement-breakpoint
CREATE INDEX "job_queue_deadline" ON "muster"."job_queue" USING btree ("org_id","deadline") WHERE deadline is not null;--> statement-breakpoint
CREATE INDEX "job_queue_leased" ON "muster"."job_queue" USING btree ("org_id","worker_id") WHERE worker_id is not null;--> statement-breakpoint
CREATE INDEX "job_queue_cancel" ON "muster"."job_queue" USING btree ("org_id","job_id") WHERE cancel_requested_at is not null;--> statement-breakpoint
CREATE INDEX "pull_requests_open" ON "muster"."pull_requests" USING btree ("org_id","project") WHERE is_open;--> statement-breakpoint
CREATE UNIQUE INDEX "workers_by_name" ON "muster"."workers" USING btree ("org_id","name");
--> statement-breakpoint
ALTER TABLE "muster"."changes" ALTER COLUMN "job_ids" SET STORAGE EXTERNAL, ALTER COLUMN "worker_ids" SET STORAGE EXTERNAL, ALTER COLUMN "states" SET STORAGE EXTERNAL, ALTER COLUMN "attempts" SET STORAGE EXTERNAL;

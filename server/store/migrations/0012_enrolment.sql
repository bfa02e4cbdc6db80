CREATE TABLE "muster"."enrolment_policies" (
	"org_id" uuid PRIMARY KEY NOT NULL,
	"mode" text NOT NULL,
	"machines_per_person" integer NOT NULL,
	"limits" jsonb NOT NULL,
	"newcomer_limits" jsonb NOT NULL
);
--> statement-breakpoint
CREATE TABLE "muster"."enrolment_uses" (
	"org_id" uuid NOT NULL,
	"key_id" text NOT NULL,
	"request_id" text NOT NULL,
	"machine" text NOT NULL,
	"worker_id" uuid NOT NULL,
	"used_at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	CONSTRAINT "enrolment_uses_org_id_key_id_request_id_pk" PRIMARY KEY("org_id","key_id","request_id")
);
--> statement-breakpoint
CREATE TABLE "muster"."enrolments" (
	"org_id" uuid NOT NULL,
	"key_id" text NOT NULL,
	"name" text NOT NULL,
	"limits" jsonb NOT NULL,
	"name_pattern" text NOT NULL,
	"uses" integer NOT NULL,
	"used" integer DEFAULT 0 NOT NULL,
	"creator" text NOT NULL,
	"created_at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	"expires_at" timestamp with time zone NOT NULL,
	"revoked_at" timestamp with time zone,
	CONSTRAINT "enrolments_org_id_key_id_pk" PRIMARY KEY("org_id","key_id")
);
--> statement-breakpoint
DROP INDEX "muster"."workers_held_back";--> statement-breakpoint
ALTER TABLE "muster"."pull_requests" ADD COLUMN "worker_id" uuid;--> statement-breakpoint
ALTER TABLE "muster"."workers" ADD COLUMN "refusals" text[] DEFAULT '{}' NOT NULL;--> statement-breakpoint
ALTER TABLE "muster"."workers" ADD COLUMN "owner" text DEFAULT '' NOT NULL;--> statement-breakpoint
ALTER TABLE "muster"."workers" ADD COLUMN "owner_person_id" text;--> statement-breakpoint
ALTER TABLE "muster"."workers" ADD COLUMN "approval" text;--> statement-breakpoint
ALTER TABLE "muster"."workers" ADD COLUMN "limits" jsonb;--> statement-breakpoint
ALTER TABLE "muster"."workers" ADD COLUMN "newcomer_limits" jsonb;--> statement-breakpoint
ALTER TABLE "muster"."workers" ADD COLUMN "max_open_prs" integer;--> statement-breakpoint
ALTER TABLE "muster"."workers" ADD COLUMN "owner_limits" jsonb;--> statement-breakpoint
ALTER TABLE "muster"."workers" ADD COLUMN "hours" jsonb;--> statement-breakpoint
ALTER TABLE "muster"."workers" ADD COLUMN "is_drained_by_owner" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "muster"."workers" ADD COLUMN "is_disabled_by_owner" boolean DEFAULT false NOT NULL;--> statement-breakpoint
CREATE INDEX "enrolments_by_time" ON "muster"."enrolments" USING btree ("org_id","created_at" DESC NULLS FIRST,"key_id");--> statement-breakpoint
CREATE INDEX "pull_requests_by_worker" ON "muster"."pull_requests" USING btree ("org_id","worker_id") WHERE is_open;--> statement-breakpoint
CREATE INDEX "workers_by_owner" ON "muster"."workers" USING btree ("org_id","owner_person_id") WHERE owner_person_id is not null;--> statement-breakpoint
CREATE INDEX "workers_held_back" ON "muster"."workers" USING btree ("org_id","worker_id") WHERE disabled_at is not null or quarantined_at is not null or approval = 'pending' or hours is not null or max_open_prs is not null;
--> statement-breakpoint
ALTER TABLE "muster"."enrolments" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."enrolments" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."enrolments" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
GRANT SELECT, INSERT, UPDATE, DELETE ON "muster"."enrolments" TO "muster_app", "muster_hot", "muster_sweep";
--> statement-breakpoint
ALTER TABLE "muster"."enrolment_uses" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."enrolment_uses" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."enrolment_uses" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
GRANT SELECT, INSERT, UPDATE, DELETE ON "muster"."enrolment_uses" TO "muster_app", "muster_hot", "muster_sweep";
--> statement-breakpoint
ALTER TABLE "muster"."enrolment_policies" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."enrolment_policies" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."enrolment_policies" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
GRANT SELECT, INSERT, UPDATE, DELETE ON "muster"."enrolment_policies" TO "muster_app", "muster_hot", "muster_sweep";
--> statement-breakpoint
-- Whether a time is outside of some hours of the week, by the wall clock of their zone. A window that does not end
-- after its start ends on the next day.
CREATE FUNCTION "muster"."is_off_hours"("hours" jsonb, "moment" timestamptz) RETURNS boolean LANGUAGE sql STABLE AS $$
	SELECT NOT EXISTS (SELECT FROM jsonb_array_elements(hours->'windows') AS w(x), jsonb_array_elements_text(w.x->'days') AS d(day),
		(SELECT extract(isodow FROM l.at)::int AS day, (extract(hour FROM l.at) * 60 + extract(minute FROM l.at))::int AS minute
			FROM (SELECT moment AT TIME ZONE (hours->>'zone') AS at) l) AS wall
		WHERE CASE WHEN (w.x->>'end')::int > (w.x->>'start')::int
			THEN d.day::int = wall.day AND wall.minute >= (w.x->>'start')::int AND wall.minute < (w.x->>'end')::int
			ELSE (d.day::int = wall.day AND wall.minute >= (w.x->>'start')::int)
				OR (d.day::int % 7 + 1 = wall.day AND wall.minute < (w.x->>'end')::int) END)
$$;
--> statement-breakpoint
-- Pull requests of a worker that are open.
CREATE FUNCTION "muster"."open_prs"("org" uuid, "worker" uuid) RETURNS integer LANGUAGE sql STABLE AS $$
	SELECT count(*)::int FROM muster.pull_requests p WHERE p.org_id = org AND p.worker_id = worker AND p.is_open
$$;
--> statement-breakpoint
-- The same, with those that jobs which it holds may open.
CREATE FUNCTION "muster"."possible_prs"("org" uuid, "worker" uuid) RETURNS integer LANGUAGE sql STABLE AS $$
	SELECT muster.open_prs(org, worker)
		+ (SELECT count(*)::int FROM muster.job_queue x WHERE x.org_id = org AND x.worker_id = worker)
$$;
--> statement-breakpoint
-- Whether a worker that is neither disabled nor quarantined gets no offers now: it waits for approval, is outside of
-- its hours, or has as many open pull requests as it may.
CREATE FUNCTION "muster"."gets_nothing"("org" uuid, "worker" uuid, "approval" text, "hours" jsonb, "max_open_prs" integer)
RETURNS boolean LANGUAGE sql STABLE AS $$
	SELECT coalesce(approval = 'pending', false)
		OR (CASE WHEN hours IS NULL THEN false ELSE muster.is_off_hours(hours, muster.muster_clock()) END)
		OR (CASE WHEN max_open_prs IS NULL THEN false ELSE muster.open_prs(org, worker) >= max_open_prs END)
$$;
--> statement-breakpoint
REVOKE ALL ON FUNCTION "muster"."is_off_hours"(jsonb, timestamptz) FROM PUBLIC;
--> statement-breakpoint
GRANT EXECUTE ON FUNCTION "muster"."is_off_hours"(jsonb, timestamptz) TO "muster_app", "muster_hot", "muster_sweep";
--> statement-breakpoint
REVOKE ALL ON FUNCTION "muster"."open_prs"(uuid, uuid) FROM PUBLIC;
--> statement-breakpoint
GRANT EXECUTE ON FUNCTION "muster"."open_prs"(uuid, uuid) TO "muster_app", "muster_hot", "muster_sweep";
--> statement-breakpoint
REVOKE ALL ON FUNCTION "muster"."possible_prs"(uuid, uuid) FROM PUBLIC;
--> statement-breakpoint
GRANT EXECUTE ON FUNCTION "muster"."possible_prs"(uuid, uuid) TO "muster_app", "muster_hot", "muster_sweep";
--> statement-breakpoint
REVOKE ALL ON FUNCTION "muster"."gets_nothing"(uuid, uuid, text, jsonb, integer) FROM PUBLIC;
--> statement-breakpoint
GRANT EXECUTE ON FUNCTION "muster"."gets_nothing"(uuid, uuid, text, jsonb, integer) TO "muster_app", "muster_hot", "muster_sweep";
--> statement-breakpoint
DROP FUNCTION "muster"."look"(uuid, bigint, bigint, bigint);
--> statement-breakpoint
-- What every org has to do now, in one statement. Row-level security holds: an org is looked at as that org. A sweep
-- finds its rows by the same conditions; here they may be wider, never narrower. Each probe of the queue asks for the
-- first row in the order of the one index that is meant: without sorts no statistics can choose another way.
CREATE FUNCTION "muster"."look"("coordinator" uuid, "young_ms" bigint, "old_ms" bigint, "ahead_ms" bigint)
RETURNS TABLE ("org" uuid, "is_due" boolean, "has_open_gates" boolean, "has_uncounted_gates" boolean, "has_releases" boolean,
	"has_avoids" boolean, "is_overdue" boolean, "is_leased" boolean, "is_linked" boolean, "is_ready" boolean,
	"has_commands" boolean, "has_cancels" boolean, "disabled" uuid[], "held_back" uuid[], "wakes_in_ms" float8)
LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET jit = off SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
	one uuid;
	has_any boolean;
	now_at timestamptz := muster.muster_clock();
	soon timestamptz := now_at + ahead_ms * interval '1 millisecond';
BEGIN
	FOR one IN SELECT o.org_id FROM muster.orgs o LOOP
		EXECUTE format('SET LOCAL muster.org = %L; SET LOCAL muster.orgs = %L', one, '{' || one || '}');
		-- Most orgs have nothing at all, and are done with here.
		SELECT EXISTS (SELECT FROM muster.job_queue x WHERE x.org_id = one) OR EXISTS (SELECT FROM muster.gates g WHERE g.org_id = one)
			OR EXISTS (SELECT FROM muster.releases r WHERE r.org_id = one) OR EXISTS (SELECT FROM muster.commands c WHERE c.org_id = one)
			OR EXISTS (SELECT FROM muster.workers w WHERE w.org_id = one AND (w.disabled_at IS NOT NULL OR w.quarantined_at IS NOT NULL OR w.approval = 'pending'
				OR w.hours IS NOT NULL OR w.max_open_prs IS NOT NULL))
		INTO has_any;
		IF NOT has_any THEN
			IF EXISTS (SELECT FROM muster.links k WHERE k.org_id = one AND k.is_attached) THEN
				org := one;
				is_linked := true;
				RETURN NEXT;
			END IF;
			CONTINUE;
		END IF;
		RETURN QUERY SELECT seen.* FROM (SELECT one AS org,
			coalesce(wake.job_at <= now_at, false) AS is_due,
			EXISTS (SELECT FROM muster.gates g WHERE g.org_id = one AND (g.resume_at <= now_at
				OR (g.paused_at IS NULL AND g.max_used IS NULL AND g.rate_jobs IS NULL))) AS has_open_gates,
			EXISTS (SELECT FROM muster.gates g WHERE g.org_id = one
				AND (g.created_at > now_at - young_ms * interval '1 millisecond'
					OR g.counted_at < now_at - old_ms * interval '1 millisecond')) AS has_uncounted_gates,
			EXISTS (SELECT FROM muster.releases r WHERE r.org_id = one) AS has_releases,
			(SELECT true FROM muster.job_queue x WHERE x.org_id = one AND x.state = 3
				AND (x.wake_at IS NOT NULL OR x.losses > 0) ORDER BY x.losses LIMIT 1) AS has_avoids,
			coalesce((SELECT x.deadline FROM muster.job_queue x WHERE x.org_id = one AND x.deadline IS NOT NULL
				AND x.cancel_requested_at IS NULL ORDER BY x.deadline LIMIT 1) <= now_at, false) AS is_overdue,
			(SELECT true FROM muster.job_queue x WHERE x.org_id = one AND x.worker_id IS NOT NULL
				ORDER BY x.worker_id LIMIT 1) AS is_leased,
			EXISTS (SELECT FROM muster.links k WHERE k.org_id = one AND k.is_attached) AS is_linked,
			(SELECT true FROM muster.job_queue x WHERE x.org_id = one AND x.state = 3
				ORDER BY x.shape_id LIMIT 1) AS is_ready,
			EXISTS (SELECT FROM muster.commands c JOIN muster.links k ON k.org_id = one AND k.worker_id = c.worker_id
				WHERE c.org_id = one AND k.coordinator_id = coordinator) AS has_commands,
			EXISTS (SELECT FROM muster.job_queue x JOIN muster.links k ON k.org_id = one AND k.worker_id = x.worker_id
				WHERE x.org_id = one AND x.cancel_requested_at IS NOT NULL AND k.coordinator_id = coordinator) AS has_cancels,
			back.disabled, back.held_back,
			(extract(epoch FROM least(CASE WHEN wake.job_at BETWEEN now_at AND soon THEN wake.job_at END, (SELECT min(g.resume_at)
				FROM muster.gates g WHERE g.org_id = one AND g.resume_at BETWEEN now_at AND soon)) - now_at) * 1000)::float8
				AS wakes_in_ms
		FROM (SELECT array_agg(w.worker_id) FILTER (WHERE w.disabled_at IS NOT NULL) AS disabled,
				array_agg(w.worker_id) FILTER (WHERE w.quarantined_at IS NOT NULL OR muster.gets_nothing(w.org_id, w.worker_id, w.approval, w.hours, w.max_open_prs)) AS held_back
			FROM muster.workers w JOIN muster.links k ON k.org_id = one AND k.worker_id = w.worker_id
			WHERE w.org_id = one AND (w.disabled_at IS NOT NULL OR w.quarantined_at IS NOT NULL OR w.approval = 'pending'
				OR w.hours IS NOT NULL OR w.max_open_prs IS NOT NULL)
				AND k.coordinator_id = coordinator) back,
			(SELECT (SELECT x.wake_at FROM muster.job_queue x WHERE x.org_id = one AND x.wake_at IS NOT NULL AND x.state IN (2, 6)
				ORDER BY x.wake_at LIMIT 1) AS job_at) wake) seen
		WHERE seen.is_due OR seen.has_open_gates OR seen.has_uncounted_gates OR seen.has_releases OR seen.has_avoids
			OR seen.is_overdue OR seen.is_leased OR seen.is_linked OR seen.is_ready OR seen.has_commands OR seen.has_cancels
			OR seen.disabled IS NOT NULL OR seen.held_back IS NOT NULL OR seen.wakes_in_ms IS NOT NULL;
	END LOOP;
END $$;
--> statement-breakpoint
REVOKE ALL ON FUNCTION "muster"."look"(uuid, bigint, bigint, bigint) FROM PUBLIC;
--> statement-breakpoint
GRANT EXECUTE ON FUNCTION "muster"."look"(uuid, bigint, bigint, bigint) TO "muster_sweep";

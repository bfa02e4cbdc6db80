CREATE TABLE "muster"."span_stats" (
	"org_id" uuid NOT NULL,
	"grain" smallint NOT NULL,
	"kind" text NOT NULL,
	"at" timestamp with time zone NOT NULL,
	"path" text NOT NULL,
	"count" bigint NOT NULL,
	"total_ms" double precision NOT NULL,
	"self_ms" double precision NOT NULL,
	CONSTRAINT "span_stats_org_id_grain_kind_at_path_pk" PRIMARY KEY("org_id","grain","kind","at","path")
);
--> statement-breakpoint
CREATE TABLE "muster"."stat_deltas" (
	"org_id" uuid NOT NULL,
	"delta_id" uuid NOT NULL,
	"at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	"shape_ids" bigint[] NOT NULL,
	"worker_ids" uuid[] NOT NULL,
	"outcomes" smallint[],
	"states" smallint[],
	"waits" real[] NOT NULL,
	"runs" real[] NOT NULL,
	"spans" jsonb,
	CONSTRAINT "stat_deltas_org_id_delta_id_pk" PRIMARY KEY("org_id","delta_id")
);
--> statement-breakpoint
CREATE TABLE "muster"."stats" (
	"org_id" uuid NOT NULL,
	"grain" smallint NOT NULL,
	"dimension" smallint NOT NULL,
	"at" timestamp with time zone NOT NULL,
	"value" text NOT NULL,
	"project" text NOT NULL,
	"succeeded" bigint NOT NULL,
	"failed" bigint NOT NULL,
	"timed_out" bigint NOT NULL,
	"lost" bigint NOT NULL,
	"cancelled" bigint NOT NULL,
	"released" bigint NOT NULL,
	"parked" bigint NOT NULL,
	"unanswered" bigint NOT NULL,
	"dead" bigint NOT NULL,
	"run_seconds" double precision NOT NULL,
	"waits" bigint[] NOT NULL,
	"runs" bigint[] NOT NULL,
	CONSTRAINT "stats_org_id_grain_dimension_at_value_project_pk" PRIMARY KEY("org_id","grain","dimension","at","value","project")
);
--> statement-breakpoint
ALTER TABLE "muster"."pull_requests" ADD COLUMN "author" text;--> statement-breakpoint
ALTER TABLE "muster"."attempts" ADD COLUMN "profile" "bytea";--> statement-breakpoint
ALTER TABLE "muster"."shapes" ADD COLUMN "accounted_to" text;
--> statement-breakpoint
ALTER TABLE "muster"."stat_deltas" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."stat_deltas" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."stat_deltas" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
GRANT SELECT, INSERT, UPDATE, DELETE ON "muster"."stat_deltas" TO "muster_app", "muster_hot", "muster_sweep";
--> statement-breakpoint
ALTER TABLE "muster"."stats" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."stats" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."stats" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
GRANT SELECT, INSERT, UPDATE, DELETE ON "muster"."stats" TO "muster_app", "muster_hot", "muster_sweep";
--> statement-breakpoint
ALTER TABLE "muster"."span_stats" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."span_stats" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."span_stats" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
GRANT SELECT, INSERT, UPDATE, DELETE ON "muster"."span_stats" TO "muster_app", "muster_hot", "muster_sweep";
--> statement-breakpoint
-- The bucket of a duration: 0 is less than a millisecond, and each of the others ends at 2^(1/8) of where it begins.
-- As in server/domain/rules/histograms.ts.
CREATE FUNCTION "muster"."histogram_bucket"("seconds" real) RETURNS smallint LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE WHEN seconds < 0.001 THEN 0 ELSE least(255, 1 + floor(ln(seconds::float8 * 1000) / ln(2.0::float8) * 8)) END::smallint
$$;
--> statement-breakpoint
-- The sum of two histograms: pairs of a bucket and its count, by bucket.
CREATE FUNCTION "muster"."histogram_sum"("one" bigint[], "other" bigint[]) RETURNS bigint[] LANGUAGE sql IMMUTABLE AS $$
	SELECT coalesce(array_agg(v.x ORDER BY s.bucket, v.place), '{}') FROM (
		SELECT p.bucket, sum(p.n)::bigint AS n FROM (
			SELECT one[i] AS bucket, one[i + 1] AS n FROM generate_series(1, cardinality(one), 2) i
			UNION ALL SELECT other[i], other[i + 1] FROM generate_series(1, cardinality(other), 2) i) p
		GROUP BY p.bucket) s, LATERAL (VALUES (0, s.bucket), (1, s.n)) v(place, x)
$$;
--> statement-breakpoint
REVOKE ALL ON FUNCTION "muster"."histogram_bucket"(real) FROM PUBLIC;
--> statement-breakpoint
GRANT EXECUTE ON FUNCTION "muster"."histogram_bucket"(real) TO "muster_app", "muster_hot", "muster_sweep";
--> statement-breakpoint
REVOKE ALL ON FUNCTION "muster"."histogram_sum"(bigint[], bigint[]) FROM PUBLIC;
--> statement-breakpoint
GRANT EXECUTE ON FUNCTION "muster"."histogram_sum"(bigint[], bigint[]) TO "muster_app", "muster_hot", "muster_sweep";
--> statement-breakpoint
DROP FUNCTION "muster"."look"(uuid, bigint, bigint, bigint);
--> statement-breakpoint
-- What every org has to do now, in one statement. Row-level security holds: an org is looked at as that org. A sweep
-- finds its rows by the same conditions; here they may be wider, never narrower. Each probe of the queue asks for the
-- first row in the order of the one index that is meant: without sorts no statistics can choose another way.
CREATE FUNCTION "muster"."look"("coordinator" uuid, "young_ms" bigint, "old_ms" bigint, "ahead_ms" bigint)
RETURNS TABLE ("org" uuid, "is_due" boolean, "has_open_gates" boolean, "has_uncounted_gates" boolean, "has_releases" boolean,
	"has_avoids" boolean, "is_overdue" boolean, "is_leased" boolean, "is_linked" boolean, "is_ready" boolean,
	"has_commands" boolean, "has_cancels" boolean, "has_stats" boolean, "disabled" uuid[], "held_back" uuid[], "wakes_in_ms" float8)
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
		SELECT EXISTS (SELECT FROM muster.job_queue x WHERE x.org_id = one) OR EXISTS (SELECT FROM muster.stat_deltas d WHERE d.org_id = one) OR EXISTS (SELECT FROM muster.gates g WHERE g.org_id = one)
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
			EXISTS (SELECT FROM muster.stat_deltas d WHERE d.org_id = one) AS has_stats,
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
			OR seen.has_stats OR seen.disabled IS NOT NULL OR seen.held_back IS NOT NULL OR seen.wakes_in_ms IS NOT NULL;
	END LOOP;
END $$;
--> statement-breakpoint
REVOKE ALL ON FUNCTION "muster"."look"(uuid, bigint, bigint, bigint) FROM PUBLIC;
--> statement-breakpoint
GRANT EXECUTE ON FUNCTION "muster"."look"(uuid, bigint, bigint, bigint) TO "muster_sweep";

CREATE INDEX "job_queue_avoiding" ON "muster"."job_queue" USING btree ("org_id","losses") WHERE state = 3 and (wake_at is not null or losses > 0);--> statement-breakpoint
CREATE INDEX "workers_held_back" ON "muster"."workers" USING btree ("org_id","worker_id") WHERE disabled_at is not null or quarantined_at is not null;
--> statement-breakpoint
-- What every org has to do now, in one statement. Row-level security holds: an org is looked at as that org. A sweep
-- finds its rows by the same conditions; here they may be wider, never narrower. Each probe of the queue asks for the
-- first row in the order of the one index that is meant: without sorts no statistics can choose another way.
CREATE FUNCTION "muster"."look"("coordinator" uuid, "young_ms" bigint, "old_ms" bigint, "ahead_ms" bigint)
RETURNS TABLE ("org" uuid, "is_due" boolean, "has_open_gates" boolean, "has_uncounted_gates" boolean, "has_releases" boolean,
	"has_avoids" boolean, "is_overdue" boolean, "is_leased" boolean, "is_linked" boolean, "is_ready" boolean,
	"has_commands" boolean, "has_cancels" boolean, "disabled" uuid[], "quarantined" uuid[], "wakes_in_ms" float8)
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
			OR EXISTS (SELECT FROM muster.workers w WHERE w.org_id = one AND (w.disabled_at IS NOT NULL OR w.quarantined_at IS NOT NULL))
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
			back.disabled, back.quarantined,
			(extract(epoch FROM least(CASE WHEN wake.job_at BETWEEN now_at AND soon THEN wake.job_at END, (SELECT min(g.resume_at)
				FROM muster.gates g WHERE g.org_id = one AND g.resume_at BETWEEN now_at AND soon)) - now_at) * 1000)::float8
				AS wakes_in_ms
		FROM (SELECT array_agg(w.worker_id) FILTER (WHERE w.disabled_at IS NOT NULL) AS disabled,
				array_agg(w.worker_id) FILTER (WHERE w.quarantined_at IS NOT NULL) AS quarantined
			FROM muster.workers w JOIN muster.links k ON k.org_id = one AND k.worker_id = w.worker_id
			WHERE w.org_id = one AND (w.disabled_at IS NOT NULL OR w.quarantined_at IS NOT NULL)
				AND k.coordinator_id = coordinator) back,
			(SELECT (SELECT x.wake_at FROM muster.job_queue x WHERE x.org_id = one AND x.wake_at IS NOT NULL AND x.state IN (2, 6)
				ORDER BY x.wake_at LIMIT 1) AS job_at) wake) seen
		WHERE seen.is_due OR seen.has_open_gates OR seen.has_uncounted_gates OR seen.has_releases OR seen.has_avoids
			OR seen.is_overdue OR seen.is_leased OR seen.is_linked OR seen.is_ready OR seen.has_commands OR seen.has_cancels
			OR seen.disabled IS NOT NULL OR seen.quarantined IS NOT NULL OR seen.wakes_in_ms IS NOT NULL;
	END LOOP;
END $$;
--> statement-breakpoint
REVOKE ALL ON FUNCTION "muster"."look"(uuid, bigint, bigint, bigint) FROM PUBLIC;
--> statement-breakpoint
GRANT EXECUTE ON FUNCTION "muster"."look"(uuid, bigint, bigint, bigint) TO "muster_sweep";
--> statement-breakpoint
-- Renews links of any orgs in one statement and one commit. Answers with those that are still their workers' links.
CREATE FUNCTION "muster"."renew_links"("orgs" uuid[], "workers" uuid[], "epochs" bigint[])
RETURNS TABLE ("worker" uuid, "epoch" bigint)
LANGUAGE plpgsql VOLATILE
SET jit = off SET plan_cache_mode = force_custom_plan
AS $$
BEGIN
	EXECUTE format('SET LOCAL muster.orgs = %L', orgs::text);
	RETURN QUERY UPDATE muster.links k SET seen_at = muster.muster_clock(), is_attached = true
	FROM unnest(workers, epochs) AS asked(worker_id, link_epoch)
	WHERE k.org_id = ANY (orgs) AND k.worker_id = asked.worker_id AND k.link_epoch = asked.link_epoch
	RETURNING k.worker_id, k.link_epoch;
END $$;
--> statement-breakpoint
REVOKE ALL ON FUNCTION "muster"."renew_links"(uuid[], uuid[], bigint[]) FROM PUBLIC;
--> statement-breakpoint
GRANT EXECUTE ON FUNCTION "muster"."renew_links"(uuid[], uuid[], bigint[]) TO "muster_app";

CREATE INDEX "shapes_built_in" ON "muster"."shapes" USING btree ("org_id","shape_id") WHERE kind in ('github.sync', 'github.issues', 'http.request', 'maintenance.retention', 'maintenance.retry-dead', 'report.digest', 'maintenance.backup');
--> statement-breakpoint
DROP FUNCTION "muster"."look"(uuid, bigint, bigint, bigint, bigint);
--> statement-breakpoint
-- What every org has to do now, in one statement. Row-level security holds: an org is looked at as that org. A sweep
-- finds its rows by the same conditions; here they may be wider, never narrower. Each probe of the queue asks for the
-- first row in the order of the one index that is meant: without sorts no statistics can choose another way.
CREATE FUNCTION "muster"."look"("coordinator" uuid, "young_ms" bigint, "old_ms" bigint, "ahead_ms" bigint, "stale_ms" bigint DEFAULT NULL)
RETURNS TABLE ("org" uuid, "is_due" boolean, "has_open_gates" boolean, "has_uncounted_gates" boolean, "has_releases" boolean,
	"has_avoids" boolean, "is_overdue" boolean, "is_leased" boolean, "is_linked" boolean, "is_ready" boolean,
	"has_commands" boolean, "has_cancels" boolean, "has_stats" boolean, "has_webhooks" boolean, "disabled" uuid[], "held_back" uuid[], "has_due_schedules" boolean, "has_alerts" boolean, "has_silence" boolean, "wants_own_worker" boolean, "wakes_in_ms" float8)
LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET jit = off SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
	one uuid;
	is_open boolean;
	schedule_at timestamptz;
	has_alert_work boolean;
	is_silent boolean;
	late timestamptz := muster.muster_clock() - stale_ms * interval '1 millisecond';
	has_any boolean;
	now_at timestamptz := muster.muster_clock();
	soon timestamptz := now_at + ahead_ms * interval '1 millisecond';
BEGIN
	FOR one, is_open IN SELECT o.org_id, o.suspended_at IS NULL AND o.deleted_at IS NULL FROM muster.orgs o LOOP
		EXECUTE format('SET LOCAL muster.org = %L; SET LOCAL muster.orgs = %L', one, '{' || one || '}');
		-- An org that may do nothing makes no jobs.
		schedule_at := CASE WHEN is_open THEN (SELECT s.due_at FROM muster.schedules s
			WHERE s.org_id = one AND s.due_at IS NOT NULL ORDER BY s.due_at LIMIT 1) END;
		has_alert_work := is_open AND (EXISTS (SELECT FROM muster.alert_rules y WHERE y.org_id = one AND NOT y.is_disabled AND y.due_at <= now_at)
				OR EXISTS (SELECT FROM muster.alert_deliveries v WHERE v.org_id = one AND v.state = 'pending' AND v.due_at <= now_at));
		-- Who fell silent, or is heard again, and the event feed does not tell yet. That reads each link: not at every look.
		is_silent := late IS NOT NULL AND EXISTS (SELECT FROM muster.links k WHERE k.org_id = one AND (
			(k.stale_at IS NULL AND k.seen_at < late AND (k.is_attached OR NOT k.is_draining)
				AND EXISTS (SELECT FROM muster.workers w WHERE w.org_id = one AND w.worker_id = k.worker_id AND w.disabled_at IS NULL))
			OR (k.is_attached AND k.seen_at >= late AND (k.stale_at IS NOT NULL OR k.lost_at IS NOT NULL))));
		-- Most orgs have nothing at all, and are done with here.
		SELECT has_alert_work OR is_silent OR coalesce(schedule_at <= soon, false) OR (SELECT true FROM muster.job_queue x WHERE x.org_id = one ORDER BY x.job_id DESC LIMIT 1) IS NOT NULL OR EXISTS (SELECT FROM muster.stat_deltas d WHERE d.org_id = one) OR EXISTS (SELECT FROM muster.gates g WHERE g.org_id = one)
			OR EXISTS (SELECT FROM muster.releases r WHERE r.org_id = one) OR EXISTS (SELECT FROM muster.commands c WHERE c.org_id = one)
			OR EXISTS (SELECT FROM muster.workers w WHERE w.org_id = one AND (w.disabled_at IS NOT NULL OR w.quarantined_at IS NOT NULL OR w.approval = 'pending'
				OR w.hours IS NOT NULL OR w.max_open_prs IS NOT NULL))
			OR EXISTS (SELECT FROM muster.webhooks w WHERE w.org_id = one AND NOT w.is_disabled)
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
				ORDER BY x.shape_id DESC LIMIT 1) AS is_ready,
			EXISTS (SELECT FROM muster.commands c JOIN muster.links k ON k.org_id = one AND k.worker_id = c.worker_id
				WHERE c.org_id = one AND k.coordinator_id = coordinator) AS has_commands,
			EXISTS (SELECT FROM (SELECT y.org_id, y.worker_id, y.cancel_requested_at FROM muster.job_queue y WHERE y.org_id = one AND y.cancel_requested_at IS NOT NULL ORDER BY y.cancel_requested_at OFFSET 0) x JOIN muster.links k ON k.org_id = one AND k.worker_id = x.worker_id
				WHERE x.org_id = one AND x.cancel_requested_at IS NOT NULL AND k.coordinator_id = coordinator) AS has_cancels,
			EXISTS (SELECT FROM muster.stat_deltas d WHERE d.org_id = one) AS has_stats,
			EXISTS (SELECT FROM muster.webhooks w WHERE w.org_id = one AND NOT w.is_disabled AND (
				EXISTS (SELECT FROM muster.webhook_deliveries d WHERE d.org_id = one AND d.webhook_id = w.webhook_id
					AND d.state = 'pending' AND d.due_at <= now_at)
				OR EXISTS (SELECT FROM muster.changes c WHERE c.org_id = one AND (c.xid, c.n) >= (w.cursor_xid, w.cursor_n))
				OR EXISTS (SELECT FROM muster.events e WHERE e.org_id = one AND e.xid >= w.cursor_xid))) AS has_webhooks,
			back.disabled, back.held_back,
			coalesce(schedule_at <= now_at, false) AS has_due_schedules,
			has_alert_work AS has_alerts,
			is_silent AS has_silence,
			-- Jobs that ask for no more than such a worker is: others would have it started in vain, again and again.
			(is_open AND EXISTS (SELECT FROM muster.shapes h WHERE h.org_id = one AND h.kind IN ('github.sync', 'github.issues', 'http.request', 'maintenance.retention', 'maintenance.retry-dead', 'report.digest', 'maintenance.backup')
				AND h.skills = '{}' AND h.target IS NULL
				AND (SELECT true FROM muster.job_queue x WHERE x.org_id = one AND x.state = 3 AND x.shape_id = h.shape_id
					ORDER BY x.priority DESC LIMIT 1)
				AND NOT EXISTS (SELECT FROM muster.links k JOIN muster.workers w ON w.org_id = one AND w.worker_id = k.worker_id
					WHERE k.org_id = one AND k.is_attached AND k.seen_at > now_at - interval '15 seconds'
						AND h.kind = ANY(w.kinds)))) AS wants_own_worker,
			(extract(epoch FROM least(CASE WHEN wake.job_at BETWEEN now_at AND soon THEN wake.job_at END,
				CASE WHEN schedule_at BETWEEN now_at AND soon THEN schedule_at END, (SELECT min(g.resume_at)
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
			OR seen.has_stats OR seen.has_webhooks OR seen.disabled IS NOT NULL OR seen.held_back IS NOT NULL OR seen.has_due_schedules OR seen.has_alerts OR seen.has_silence OR seen.wakes_in_ms IS NOT NULL;
	END LOOP;
END $$;
--> statement-breakpoint
REVOKE ALL ON FUNCTION "muster"."look"(uuid, bigint, bigint, bigint, bigint) FROM PUBLIC;
--> statement-breakpoint
GRANT EXECUTE ON FUNCTION "muster"."look"(uuid, bigint, bigint, bigint, bigint) TO "muster_sweep";

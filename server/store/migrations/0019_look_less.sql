DROP INDEX "muster"."job_queue_cancel";--> statement-breakpoint
CREATE INDEX "job_queue_cancel" ON "muster"."job_queue" USING btree ("org_id","cancel_requested_at") WHERE cancel_requested_at is not null;--> statement-breakpoint
-- The look walked over what is dead at the beginning of a line, and over every lease to find those that are to be
-- cancelled. The newest job of an org and the newest of its last line are where nothing is dead yet, and cancels have an
-- order of their own. What else stands in the look stays as it is.
DO $$
DECLARE
	look regprocedure;
	was text;
	becomes text;
	part text[];
BEGIN
	SELECT p.oid::regprocedure INTO STRICT look FROM pg_proc p
		WHERE p.proname = 'look' AND p.pronamespace = 'muster'::regnamespace;
	becomes := pg_get_functiondef(look);
	FOREACH part SLICE 1 IN ARRAY ARRAY[
		['EXISTS (SELECT FROM muster.job_queue x WHERE x.org_id = one) OR',
		 '(SELECT true FROM muster.job_queue x WHERE x.org_id = one ORDER BY x.job_id DESC LIMIT 1) IS NOT NULL OR'],
		['ORDER BY x.shape_id LIMIT 1) AS is_ready', 'ORDER BY x.shape_id DESC LIMIT 1) AS is_ready'],
		['EXISTS (SELECT FROM muster.job_queue x JOIN muster.links k',
		 'EXISTS (SELECT FROM (SELECT y.org_id, y.worker_id, y.cancel_requested_at FROM muster.job_queue y WHERE y.org_id = one '
		 'AND y.cancel_requested_at IS NOT NULL ORDER BY y.cancel_requested_at OFFSET 0) x JOIN muster.links k']
	] LOOP
		was := becomes;
		becomes := replace(was, part[1], part[2]);
		IF becomes = was THEN RAISE EXCEPTION 'the look has no "%"', part[1]; END IF;
	END LOOP;
	EXECUTE becomes;
END $$;

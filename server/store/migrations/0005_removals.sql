-- History is append-only as long as its job is there: who removes a job takes its history along.
CREATE POLICY "after_its_job" ON "muster"."attempts" AS RESTRICTIVE FOR DELETE TO "muster_app" USING (NOT EXISTS (SELECT FROM "muster"."jobs" j WHERE j.org_id = attempts.org_id AND j.job_id = attempts.job_id));
--> statement-breakpoint
GRANT DELETE ON "muster"."attempts" TO "muster_app";

-- Room for the second version of a row that every claim writes: with the first one on its page, the WAL says only what
-- is other than before, and in the primary key it splits no page: 77 bytes a job less in a claim, for 37 more in a submit.
ALTER TABLE "muster"."job_queue" SET (fillfactor=45);
--> statement-breakpoint
ALTER INDEX "muster"."job_queue_org_id_job_id_pk" SET (fillfactor=50);

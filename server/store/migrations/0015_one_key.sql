DROP INDEX "muster"."attempts_final";--> statement-breakpoint
ALTER TABLE "muster"."attempts" DROP CONSTRAINT "attempts_org_id_job_id_attempt_pk";--> statement-breakpoint
ALTER TABLE "muster"."attempts" ADD COLUMN "ordinal" integer DEFAULT 0 NOT NULL;--> statement-breakpoint
-- Not by an UPDATE: row-level security holds for the owner too, who acts for no org.
ALTER TABLE "muster"."attempts" ALTER COLUMN "ordinal" TYPE integer USING CASE WHEN "final" THEN 0 ELSE "attempt" END;--> statement-breakpoint
ALTER TABLE "muster"."attempts" ALTER COLUMN "ordinal" DROP DEFAULT;--> statement-breakpoint
ALTER TABLE "muster"."attempts" ADD CONSTRAINT "attempts_org_id_job_id_generation_ordinal_pk" PRIMARY KEY("org_id","job_id","generation","ordinal");--> statement-breakpoint
ALTER TABLE "muster"."attempts" ADD CONSTRAINT "attempts_ordinal" CHECK (ordinal = case when final then 0 else attempt end);--> statement-breakpoint
-- Ids of jobs cannot be compressed; of the other lists the same stands many times, and what is compressed is not written.
ALTER TABLE "muster"."changes" ALTER COLUMN "worker_ids" SET STORAGE EXTENDED, ALTER COLUMN "states" SET STORAGE EXTENDED, ALTER COLUMN "attempts" SET STORAGE EXTENDED;

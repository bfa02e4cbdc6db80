-- Row-level security: a statement sees the one org that its transaction names; unset is an error.
ALTER TABLE "muster"."jobs" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."jobs" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."job_queue" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."job_queue" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."attempts" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."attempts" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."dead_letters" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."dead_letters" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."late_results" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."late_results" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."job_keys" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."job_keys" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."batches" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."batches" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."shapes" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."shapes" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."progress" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."progress" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."log_chunks" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."log_chunks" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."artifacts" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."artifacts" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."tallies" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."tallies" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."orgs" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."orgs" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."api_keys" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."api_keys" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."settings" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."settings" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."workers" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."workers" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."projects" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."projects" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."pull_requests" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."pull_requests" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."audit_log" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."audit_log" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."links" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."links" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."changes" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."changes" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."jobs" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."job_queue" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."attempts" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."dead_letters" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."late_results" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."job_keys" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."batches" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."shapes" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."progress" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."log_chunks" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."artifacts" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."tallies" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."orgs" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."api_keys" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."settings" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."workers" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."projects" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."pull_requests" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."audit_log" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
-- Written across orgs in one statement; the inner SELECT makes the list an init plan, evaluated once.
CREATE POLICY "named_orgs" ON "muster"."links" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = any((SELECT current_setting('muster.orgs')::uuid[])::uuid[])) WITH CHECK (org_id = any((SELECT current_setting('muster.orgs')::uuid[])::uuid[]));
--> statement-breakpoint
CREATE POLICY "named_orgs" ON "muster"."changes" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = any((SELECT current_setting('muster.orgs')::uuid[])::uuid[])) WITH CHECK (org_id = any((SELECT current_setting('muster.orgs')::uuid[])::uuid[]));
--> statement-breakpoint
-- A sweep reads the list of orgs, then works org by org.
CREATE POLICY "sweep_lists" ON "muster"."orgs" FOR SELECT TO "muster_sweep" USING (true);
--> statement-breakpoint
-- A key is looked up by its own id, before its org is known.
CREATE POLICY "by_key_id" ON "muster"."api_keys" FOR SELECT TO "muster_app" USING (key_id = current_setting('muster.key', true));
--> statement-breakpoint
GRANT USAGE ON SCHEMA "muster" TO "muster_app", "muster_hot", "muster_sweep";
--> statement-breakpoint
GRANT SELECT, INSERT, UPDATE, DELETE ON "muster"."jobs", "muster"."job_queue", "muster"."dead_letters", "muster"."late_results", "muster"."job_keys", "muster"."batches", "muster"."shapes", "muster"."progress", "muster"."log_chunks", "muster"."artifacts", "muster"."tallies", "muster"."api_keys", "muster"."settings", "muster"."workers", "muster"."projects", "muster"."pull_requests", "muster"."links", "muster"."changes" TO "muster_app", "muster_hot", "muster_sweep";
--> statement-breakpoint
-- History is append-only; audit too.
GRANT SELECT, INSERT ON "muster"."attempts", "muster"."audit_log" TO "muster_app", "muster_hot", "muster_sweep";
--> statement-breakpoint
GRANT SELECT, INSERT ON "muster"."orgs" TO "muster_app";
--> statement-breakpoint
GRANT SELECT ON "muster"."orgs" TO "muster_hot", "muster_sweep";
--> statement-breakpoint
GRANT SELECT, INSERT, UPDATE, DELETE ON "muster"."coordinators" TO "muster_app", "muster_sweep";
--> statement-breakpoint
GRANT SELECT ON "muster"."coordinators", "muster"."cluster" TO "muster_hot", "muster_app", "muster_sweep";
--> statement-breakpoint
INSERT INTO "muster"."cluster" ("id", "epoch") VALUES (1, 1);

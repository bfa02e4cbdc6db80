CREATE TABLE "muster"."key_counts" (
	"org_id" uuid NOT NULL,
	"key_id" text NOT NULL,
	"counted" text NOT NULL,
	"started_at" timestamp with time zone NOT NULL,
	"used" bigint NOT NULL,
	CONSTRAINT "key_counts_org_id_key_id_counted_pk" PRIMARY KEY("org_id","key_id","counted")
);
--> statement-breakpoint
ALTER TABLE "muster"."api_keys" ADD COLUMN "scheme" text DEFAULT 'own' NOT NULL;--> statement-breakpoint
ALTER TABLE "muster"."api_keys" ADD COLUMN "pepper" text DEFAULT '' NOT NULL;--> statement-breakpoint
ALTER TABLE "muster"."api_keys" ADD COLUMN "prefix" text DEFAULT 'mk' NOT NULL;--> statement-breakpoint
ALTER TABLE "muster"."api_keys" ADD COLUMN "last_four" text DEFAULT '' NOT NULL;--> statement-breakpoint
ALTER TABLE "muster"."api_keys" ADD COLUMN "used_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "muster"."api_keys" ADD COLUMN "calls_per_minute" integer;--> statement-breakpoint
ALTER TABLE "muster"."api_keys" ADD COLUMN "jobs_per_day" integer;--> statement-breakpoint
ALTER TABLE "muster"."api_keys" ADD COLUMN "successor" text;--> statement-breakpoint
CREATE UNIQUE INDEX "api_keys_registered" ON "muster"."api_keys" USING btree ("hash") WHERE scheme <> 'own';--> statement-breakpoint
CREATE INDEX "api_keys_revoked" ON "muster"."api_keys" USING btree ("org_id","revoked_at") WHERE revoked_at is not null;--> statement-breakpoint
CREATE INDEX "api_keys_expiring" ON "muster"."api_keys" USING btree ("org_id","expires_at") WHERE expires_at is not null;
--> statement-breakpoint
ALTER TABLE "muster"."key_counts" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."key_counts" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."key_counts" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
GRANT SELECT, INSERT, UPDATE, DELETE ON "muster"."key_counts" TO "muster_app", "muster_hot", "muster_sweep";
--> statement-breakpoint
-- A key that was hashed elsewhere has no id in it: it is looked up by its whole hash, before its org is known.
CREATE POLICY "by_key_hash" ON "muster"."api_keys" FOR SELECT TO "muster_app" USING (scheme <> 'own' AND encode(hash, 'hex') = any(string_to_array(current_setting('muster.key_hash', true), ',')));
--> statement-breakpoint
-- Keys of these orgs that ended within so long: revoked, run out, or their worker disabled. In one statement, for
-- whoever serves streams of them; row-level security holds: an org is looked at as that org.
CREATE FUNCTION "muster"."ended_keys"("orgs" uuid[], "since_ms" bigint)
RETURNS TABLE ("org" uuid, "key" text)
LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off SET jit = off SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
	one uuid;
	now_at timestamptz := muster.muster_clock();
	since timestamptz := now_at - since_ms * interval '1 millisecond';
BEGIN
	FOREACH one IN ARRAY orgs LOOP
		EXECUTE format('SET LOCAL muster.org = %L', one);
		RETURN QUERY
			SELECT k.org_id, k.key_id FROM muster.api_keys k
				WHERE k.org_id = one AND k.revoked_at IS NOT NULL AND k.revoked_at > since
			UNION ALL SELECT k.org_id, k.key_id FROM muster.api_keys k
				WHERE k.org_id = one AND k.expires_at IS NOT NULL AND k.expires_at > since AND k.expires_at <= now_at
			UNION ALL SELECT k.org_id, k.key_id FROM muster.workers w JOIN muster.api_keys k
				ON k.org_id = one AND k.worker_id = w.worker_id
				WHERE w.org_id = one AND (w.disabled_at IS NOT NULL OR w.quarantined_at IS NOT NULL) AND w.disabled_at > since;
	END LOOP;
END $$;
--> statement-breakpoint
REVOKE ALL ON FUNCTION "muster"."ended_keys"(uuid[], bigint) FROM PUBLIC;
--> statement-breakpoint
GRANT EXECUTE ON FUNCTION "muster"."ended_keys"(uuid[], bigint) TO "muster_sweep";
--> statement-breakpoint
-- What keys that were hashed elsewhere begin with, in all orgs: no other text is looked up as one.
CREATE FUNCTION "muster"."registered_prefixes"()
RETURNS TABLE ("prefix" text)
LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off SET jit = off
AS $$
DECLARE
	one uuid;
BEGIN
	FOR one IN SELECT o.org_id FROM muster.orgs o LOOP
		EXECUTE format('SET LOCAL muster.org = %L', one);
		RETURN QUERY SELECT DISTINCT k.prefix FROM muster.api_keys k WHERE k.org_id = one AND k.scheme <> 'own';
	END LOOP;
END $$;
--> statement-breakpoint
REVOKE ALL ON FUNCTION "muster"."registered_prefixes"() FROM PUBLIC;
--> statement-breakpoint
GRANT EXECUTE ON FUNCTION "muster"."registered_prefixes"() TO "muster_sweep";

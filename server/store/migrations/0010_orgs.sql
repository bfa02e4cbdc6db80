-- The canonical form of an entry of the audit log, hashed: each field with its length in bytes before it, the time in
-- whole microseconds since 1970. Written so that it is immutable and inlined.
CREATE FUNCTION "muster"."audit_hash"("org" uuid, "id" uuid, "at" timestamptz, "actor" text, "action" text, "target" text, "reason" text, "request" text, "details" jsonb)
RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT sha256(decode(replace('muster audit 1;' || org::text || ';' || id::text || ';'
		|| ((extract(epoch FROM ("at" - timestamptz '1970-01-01 00:00:00+00')) * 1000000)::bigint)::text || ';'
		|| octet_length(actor)::text || ':' || actor || ';' || octet_length("action")::text || ':' || "action" || ';'
		|| octet_length(target)::text || ':' || target || ';' || octet_length(reason)::text || ':' || reason || ';'
		|| octet_length(request)::text || ':' || request || ';'
		|| octet_length(details::text)::text || ':' || details::text, '\', '\\'), 'escape'))
$$;
--> statement-breakpoint
CREATE TABLE "muster"."audit_seals" (
	"org_id" uuid NOT NULL,
	"seal" bigint NOT NULL,
	"sealed_at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	"last_xid" "xid8" NOT NULL,
	"last_id" uuid NOT NULL,
	"entries" uuid[] NOT NULL,
	"hashes" "bytea" NOT NULL,
	"hash" "bytea" NOT NULL,
	CONSTRAINT "audit_seals_org_id_seal_pk" PRIMARY KEY("org_id","seal")
);
--> statement-breakpoint
ALTER TABLE "muster"."audit_log" ADD COLUMN "xid" "xid8" DEFAULT pg_current_xact_id() NOT NULL;--> statement-breakpoint
ALTER TABLE "muster"."audit_log" ADD COLUMN "content_hash" "bytea" GENERATED ALWAYS AS (muster.audit_hash(org_id, audit_id, at, actor, action, target, reason, request_id, details)) STORED NOT NULL;--> statement-breakpoint
ALTER TABLE "muster"."orgs" ADD COLUMN "suspended_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "muster"."orgs" ADD COLUMN "suspend_reason" text DEFAULT '' NOT NULL;--> statement-breakpoint
ALTER TABLE "muster"."orgs" ADD COLUMN "deleted_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "muster"."orgs" ADD COLUMN "deleted_by" uuid;--> statement-breakpoint
CREATE INDEX "audit_log_by_commit" ON "muster"."audit_log" USING btree ("org_id","xid","audit_id");--> statement-breakpoint
CREATE INDEX "orgs_held_back" ON "muster"."orgs" USING btree ("org_id") WHERE suspended_at is not null or deleted_at is not null;
--> statement-breakpoint
ALTER TABLE "muster"."audit_seals" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."audit_seals" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."audit_seals" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
GRANT SELECT ON "muster"."audit_seals" TO "muster_app";
--> statement-breakpoint
GRANT SELECT, INSERT ON "muster"."audit_seals" TO "muster_sweep";
--> statement-breakpoint
GRANT UPDATE ("suspended_at", "suspend_reason", "deleted_at", "deleted_by") ON "muster"."orgs" TO "muster_app";
--> statement-breakpoint
-- What is append-only goes with its org alone, when that was deleted.
CREATE POLICY "with_its_org" ON "muster"."attempts" AS RESTRICTIVE FOR DELETE TO "muster_sweep" USING (EXISTS (SELECT FROM "muster"."orgs" o WHERE o.org_id = attempts.org_id AND o.deleted_at IS NOT NULL));
--> statement-breakpoint
CREATE POLICY "with_its_org" ON "muster"."audit_log" AS RESTRICTIVE FOR DELETE TO "muster_sweep" USING (EXISTS (SELECT FROM "muster"."orgs" o WHERE o.org_id = audit_log.org_id AND o.deleted_at IS NOT NULL));
--> statement-breakpoint
CREATE POLICY "with_its_org" ON "muster"."audit_seals" AS RESTRICTIVE FOR DELETE TO "muster_sweep" USING (EXISTS (SELECT FROM "muster"."orgs" o WHERE o.org_id = audit_seals.org_id AND o.deleted_at IS NOT NULL));
--> statement-breakpoint
CREATE POLICY "with_its_org" ON "muster"."orgs" AS RESTRICTIVE FOR DELETE TO "muster_sweep" USING (deleted_at IS NOT NULL);
--> statement-breakpoint
GRANT DELETE ON "muster"."attempts", "muster"."audit_log", "muster"."audit_seals", "muster"."orgs" TO "muster_sweep";
--> statement-breakpoint
-- Also for whom grants and policies do not bind.
CREATE FUNCTION "muster"."append_only"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF TG_OP = 'DELETE' THEN
		IF EXISTS (SELECT FROM muster.orgs o WHERE o.org_id = OLD.org_id AND o.deleted_at IS NOT NULL) THEN RETURN OLD; END IF;
	END IF;
	RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;
--> statement-breakpoint
CREATE TRIGGER "append_only" BEFORE UPDATE OR DELETE ON "muster"."audit_log" FOR EACH ROW EXECUTE FUNCTION "muster"."append_only"();
--> statement-breakpoint
CREATE TRIGGER "append_only_whole" BEFORE TRUNCATE ON "muster"."audit_log" FOR EACH STATEMENT EXECUTE FUNCTION "muster"."append_only"();
--> statement-breakpoint
CREATE TRIGGER "append_only" BEFORE UPDATE OR DELETE ON "muster"."audit_seals" FOR EACH ROW EXECUTE FUNCTION "muster"."append_only"();
--> statement-breakpoint
CREATE TRIGGER "append_only_whole" BEFORE TRUNCATE ON "muster"."audit_seals" FOR EACH STATEMENT EXECUTE FUNCTION "muster"."append_only"();
--> statement-breakpoint
-- Orgs with entries that are not sealed, and may be: every transaction up to theirs has ended. In one statement;
-- row-level security holds: an org is looked at as that org.
CREATE FUNCTION "muster"."unsealed_orgs"()
RETURNS TABLE ("org" uuid)
LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET jit = off SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
	one uuid;
	from_xid xid8;
	from_id uuid;
	horizon xid8 := pg_snapshot_xmin(pg_current_snapshot());
BEGIN
	FOR one IN SELECT o.org_id FROM muster.orgs o WHERE o.deleted_at IS NULL LOOP
		EXECUTE format('SET LOCAL muster.org = %L', one);
		SELECT s.last_xid, s.last_id INTO from_xid, from_id FROM muster.audit_seals s
			WHERE s.org_id = one ORDER BY s.seal DESC LIMIT 1;
		IF EXISTS (SELECT FROM muster.audit_log a WHERE a.org_id = one
			AND (a.xid, a.audit_id) > (coalesce(from_xid, '0'::xid8), coalesce(from_id, '00000000-0000-0000-0000-000000000000'))
			AND a.xid < horizon) THEN
			org := one;
			RETURN NEXT;
		END IF;
	END LOOP;
END $$;
--> statement-breakpoint
REVOKE ALL ON FUNCTION "muster"."unsealed_orgs"() FROM PUBLIC;
--> statement-breakpoint
GRANT EXECUTE ON FUNCTION "muster"."unsealed_orgs"() TO "muster_sweep";
--> statement-breakpoint
REVOKE ALL ON FUNCTION "muster"."append_only"() FROM PUBLIC;
--> statement-breakpoint
REVOKE ALL ON FUNCTION "muster"."audit_hash"(uuid, uuid, timestamptz, text, text, text, text, text, jsonb) FROM PUBLIC;
--> statement-breakpoint
GRANT EXECUTE ON FUNCTION "muster"."audit_hash"(uuid, uuid, timestamptz, text, text, text, text, text, jsonb) TO "muster_app", "muster_hot", "muster_sweep";
--> statement-breakpoint
REVOKE ALL ON FUNCTION "muster"."muster_clock"() FROM PUBLIC;
--> statement-breakpoint
GRANT EXECUTE ON FUNCTION "muster"."muster_clock"() TO "muster_app", "muster_hot", "muster_sweep";

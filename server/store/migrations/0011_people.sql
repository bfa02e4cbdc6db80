CREATE TABLE "muster"."device_logins" (
	"org_id" uuid NOT NULL,
	"device_hash" "bytea" NOT NULL,
	"user_code" text NOT NULL,
	"expires_at" timestamp with time zone NOT NULL,
	"interval_ms" integer NOT NULL,
	"polled_at" timestamp with time zone,
	"person_id" uuid,
	"home_org_id" uuid,
	"only_org_id" uuid,
	CONSTRAINT "device_logins_org_id_device_hash_pk" PRIMARY KEY("org_id","device_hash")
);
--> statement-breakpoint
CREATE TABLE "muster"."identities" (
	"org_id" uuid NOT NULL,
	"person_id" uuid NOT NULL,
	"provider" text NOT NULL,
	"subject" text NOT NULL,
	"login" text NOT NULL,
	"linked_at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	CONSTRAINT "identities_org_id_person_id_provider_pk" PRIMARY KEY("org_id","person_id","provider")
);
--> statement-breakpoint
CREATE TABLE "muster"."invitations" (
	"org_id" uuid NOT NULL,
	"invitation_id" uuid NOT NULL,
	"hash" "bytea" NOT NULL,
	"email" text NOT NULL,
	"role" text NOT NULL,
	"expires_at" timestamp with time zone NOT NULL,
	"used_at" timestamp with time zone,
	"created_at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	CONSTRAINT "invitations_org_id_invitation_id_pk" PRIMARY KEY("org_id","invitation_id")
);
--> statement-breakpoint
CREATE TABLE "muster"."logins" (
	"org_id" uuid NOT NULL,
	"login_id" uuid NOT NULL,
	"person_id" uuid NOT NULL,
	"method" text NOT NULL,
	"seed" "bytea" NOT NULL,
	"generation" integer DEFAULT 1 NOT NULL,
	"rotated_at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	"expires_at" timestamp with time zone NOT NULL,
	"ended_at" timestamp with time zone,
	"only_org_id" uuid,
	"created_at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	CONSTRAINT "logins_org_id_login_id_pk" PRIMARY KEY("org_id","login_id")
);
--> statement-breakpoint
CREATE TABLE "muster"."members" (
	"org_id" uuid NOT NULL,
	"person_id" uuid NOT NULL,
	"home_org_id" uuid NOT NULL,
	"email" text NOT NULL,
	"name" text NOT NULL,
	"role" text NOT NULL,
	"disabled_at" timestamp with time zone,
	"created_at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	CONSTRAINT "members_org_id_person_id_pk" PRIMARY KEY("org_id","person_id")
);
--> statement-breakpoint
CREATE TABLE "muster"."people" (
	"org_id" uuid NOT NULL,
	"person_id" uuid NOT NULL,
	"email" text NOT NULL,
	"name" text NOT NULL,
	"password_hash" text,
	"vouched_at" timestamp with time zone,
	"created_at" timestamp with time zone DEFAULT muster.muster_clock() NOT NULL,
	CONSTRAINT "people_org_id_person_id_pk" PRIMARY KEY("org_id","person_id")
);
--> statement-breakpoint
CREATE UNIQUE INDEX "device_logins_by_user_code" ON "muster"."device_logins" USING btree ("org_id","user_code");--> statement-breakpoint
CREATE INDEX "device_logins_by_end" ON "muster"."device_logins" USING btree ("org_id","expires_at");--> statement-breakpoint
CREATE UNIQUE INDEX "identities_by_subject" ON "muster"."identities" USING btree ("provider","subject");--> statement-breakpoint
CREATE INDEX "logins_by_person" ON "muster"."logins" USING btree ("org_id","person_id");--> statement-breakpoint
CREATE INDEX "logins_by_end" ON "muster"."logins" USING btree ("org_id","expires_at");--> statement-breakpoint
CREATE UNIQUE INDEX "members_by_email" ON "muster"."members" USING btree ("org_id","email");--> statement-breakpoint
CREATE INDEX "members_by_person" ON "muster"."members" USING btree ("person_id");--> statement-breakpoint
CREATE UNIQUE INDEX "people_by_email" ON "muster"."people" USING btree ("email");--> statement-breakpoint
CREATE UNIQUE INDEX "people_by_id" ON "muster"."people" USING btree ("person_id");
--> statement-breakpoint
ALTER TABLE "muster"."people" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."people" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."people" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
GRANT SELECT, INSERT, UPDATE, DELETE ON "muster"."people" TO "muster_app", "muster_sweep";
--> statement-breakpoint
ALTER TABLE "muster"."members" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."members" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."members" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
GRANT SELECT, INSERT, UPDATE, DELETE ON "muster"."members" TO "muster_app", "muster_sweep";
--> statement-breakpoint
ALTER TABLE "muster"."logins" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."logins" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."logins" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
GRANT SELECT, INSERT, UPDATE, DELETE ON "muster"."logins" TO "muster_app", "muster_sweep";
--> statement-breakpoint
ALTER TABLE "muster"."identities" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."identities" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."identities" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
GRANT SELECT, INSERT, UPDATE, DELETE ON "muster"."identities" TO "muster_app", "muster_sweep";
--> statement-breakpoint
ALTER TABLE "muster"."invitations" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."invitations" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."invitations" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
GRANT SELECT, INSERT, UPDATE, DELETE ON "muster"."invitations" TO "muster_app", "muster_sweep";
--> statement-breakpoint
ALTER TABLE "muster"."device_logins" ENABLE ROW LEVEL SECURITY;
--> statement-breakpoint
ALTER TABLE "muster"."device_logins" FORCE ROW LEVEL SECURITY;
--> statement-breakpoint
CREATE POLICY "one_org" ON "muster"."device_logins" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid);
--> statement-breakpoint
GRANT SELECT, INSERT, UPDATE, DELETE ON "muster"."device_logins" TO "muster_app", "muster_sweep";
--> statement-breakpoint
-- Who logs in says an e-mail, or is known to a provider, before the org of the account is known. Exactly that row can be seen.
CREATE POLICY "by_email" ON "muster"."people" FOR SELECT TO "muster_app" USING (encode(convert_to(email, 'UTF8'), 'hex') = current_setting('muster.email', true));
--> statement-breakpoint
CREATE POLICY "by_subject" ON "muster"."identities" FOR SELECT TO "muster_app" USING (encode(convert_to(provider || ' ' || subject, 'UTF8'), 'hex') = current_setting('muster.subject', true));
--> statement-breakpoint
-- The orgs that a person is in.
CREATE POLICY "by_person" ON "muster"."members" FOR SELECT TO "muster_app" USING (person_id::text = current_setting('muster.person', true));
--> statement-breakpoint
-- Which of these logins are no longer what they were: ended, or their person has another role in the org, or none. In one
-- statement, for whoever serves streams of them; row-level security holds: an org is looked at as that org.
CREATE FUNCTION "muster"."ended_logins"("homes" uuid[], "login_ids" uuid[], "member_orgs" uuid[], "roles" text[])
RETURNS TABLE ("login" uuid, "member_org" uuid, "held_role" text)
LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off SET jit = off SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
	person uuid;
BEGIN
	FOR n IN 1 .. coalesce(array_length(login_ids, 1), 0) LOOP
		EXECUTE format('SET LOCAL muster.org = %L', homes[n]);
		SELECT l.person_id INTO person FROM muster.logins l
			WHERE l.org_id = homes[n] AND l.login_id = login_ids[n]
				AND l.ended_at IS NULL AND l.expires_at > muster.muster_clock();
		IF FOUND THEN
			EXECUTE format('SET LOCAL muster.org = %L', member_orgs[n]);
			PERFORM 1 FROM muster.members m
				WHERE m.org_id = member_orgs[n] AND m.person_id = person AND m.role = roles[n] AND m.disabled_at IS NULL;
		END IF;
		IF NOT FOUND THEN
			login := login_ids[n];
			member_org := member_orgs[n];
			held_role := roles[n];
			RETURN NEXT;
		END IF;
	END LOOP;
END $$;
--> statement-breakpoint
REVOKE ALL ON FUNCTION "muster"."ended_logins"(uuid[], uuid[], uuid[], text[]) FROM PUBLIC;
--> statement-breakpoint
GRANT EXECUTE ON FUNCTION "muster"."ended_logins"(uuid[], uuid[], uuid[], text[]) TO "muster_sweep";

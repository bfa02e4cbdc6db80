// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the texts are of templates of the product.

/** A text of the product that a mutant replaces. It must stand in the file exactly once. */
export interface Edit {
  readonly file: string;
  readonly find: string;
  readonly put: string;
}

/** A fault put into the product, and the test that must notice it. */
export interface Mutant {
  readonly name: string;
  readonly edits: readonly Edit[];
  /** A test file, and the title of the test in it. */
  readonly detector: { readonly file: string; readonly title: string };
}

const scenarios = "test/chaos/mutants/scenarios";
const byJob = `x.\${q.orgId} = \${param("org")}::uuid and x.\${q.jobId} = any(\${param("jobs")}::uuid[])
      and x.\${q.jobId} = f.job_id`;

/** The mutants of the product. */
export const mutants: readonly Mutant[] = [
  {
    name: "the finish does not compare the lease",
    edits: [
      {
        file: "server/store/leases.ts",
        find: "delete from ${jobQueue} x using f where ${fenced}",
        put: `delete from \${jobQueue} x using f where ${byJob} and x.\${q.attempt} = f.attempt
      and x.\${q.workerId} is not distinct from f.worker_id`,
      },
    ],
    detector: {
      file: `${scenarios}/stale-leases.test.ts`,
      title: "does not end the same attempt of the same worker, granted again after commits were lost",
    },
  },
  {
    name: "the finish is guarded by the state alone",
    edits: [
      {
        file: "server/store/leases.ts",
        find: "delete from ${jobQueue} x using f where ${fenced}",
        put: `delete from \${jobQueue} x using f where ${byJob} and x.\${q.state} in (4, 5)`,
      },
    ],
    detector: {
      file: `${scenarios}/stale-leases.test.ts`,
      title: "does not end the attempt that another worker has",
    },
  },
  {
    name: "sweeps end jobs by their ids",
    edits: [
      {
        file: "server/store/leases.ts",
        find: `select \${decisionColumns} from \${jobQueue} x \${decisionSources} cross join \${fences}
  where \${fenced} order by`,
        put: `select \${decisionColumns}, f.lease_id as lease from \${jobQueue} x \${decisionSources} cross join \${fences}
  where ${byJob} and x.\${q.workerId} is not null order by`,
      },
    ],
    detector: {
      file: `${scenarios}/stale-leases.test.ts`,
      title: "does not take the same attempt of the same worker, granted again after commits were lost",
    },
  },
  {
    name: "an answer goes out before the commit",
    edits: [
      {
        file: "server/store/statement.ts",
        find: "const settled = await Promise.allSettled([begun, ...running, committed]);",
        put: "committed.catch(() => {});\n    const settled = await Promise.allSettled([begun, ...running]);",
      },
      {
        file: "server/store/statement.ts",
        find: 'if ((await committed).command !== "COMMIT") throw new Error("the transaction was rolled back");',
        put: "",
      },
    ],
    detector: {
      file: `${scenarios}/commits.test.ts`,
      title: "is acknowledged after its commit, which may fail when every statement succeeded",
    },
  },
  {
    name: "commits are not flushed, and the database crashes",
    edits: [
      {
        file: "server/store/migrate.ts",
        find: 'jit: "off",',
        put: 'jit: "off",\n  synchronous_commit: "off",',
      },
    ],
    detector: {
      file: `${scenarios}/crash.test.ts`,
      title: "what was acknowledged is there after a crash of the database",
    },
  },
  {
    name: "a claim counts a failure",
    edits: [
      {
        file: "server/store/claim.ts",
        find: "${q.attempt} = c.${q.attempt} + 1,",
        put: "${q.attempt} = c.${q.attempt} + 1, ${q.failures} = c.${q.failures} + 1,",
      },
    ],
    detector: {
      file: `${scenarios}/budgets.test.ts`,
      title: "is counted when the job reports it, and by nothing else",
    },
  },
  {
    name: "expiry asks the clock of its process",
    edits: [
      {
        file: "server/store/sweeps.ts",
        find: "k.${l.seenAt} < ${clock} - x.${q.reclaimAfterMs}",
        put: 'k.${l.seenAt} < to_timestamp(${param("processMs")}::float8 / 1000) - x.${q.reclaimAfterMs}',
      },
      {
        file: "server/store/statement.ts",
        find: "if (!(name in values)) throw",
        put: 'if (name === "processMs") return Date.now();\n    if (!(name in values)) throw',
      },
    ],
    detector: {
      file: `${scenarios}/expiry.test.ts`,
      title: "does not ask the clock of its process, which is an hour ahead",
    },
  },
  {
    name: "nobody looks for ready jobs without being told",
    edits: [
      {
        file: "server/maintain/sweeps.ts",
        find: "pass: (orgId) => dispatcher.refresh(orgId),",
        put: "pass: async () => {},",
      },
    ],
    detector: {
      file: `${scenarios}/wakes.test.ts`,
      title: "a job that became ready without a word to anybody runs a poll later",
    },
  },
  {
    name: "capacity is a counter of its own",
    edits: [
      {
        file: "server/dispatch/link.ts",
        find: "readonly held = new Map<string, Held>();",
        put: "readonly held = new Map<string, Held>();\n  #count = 0;",
      },
      {
        file: "server/dispatch/link.ts",
        find: "this.held.set(held.fence.leaseId, held);",
        put: "this.held.set(held.fence.leaseId, held);\n    this.#count++;",
      },
      {
        file: "server/dispatch/link.ts",
        find: "if (held && this.held.delete(leaseId))",
        put: "this.#count--;\n    if (held && this.held.delete(leaseId))",
      },
      {
        file: "server/dispatch/link.ts",
        find: "this.#mostHeld() - this.held.size",
        put: "this.slots - this.#count",
      },
    ],
    detector: {
      file: `${scenarios}/capacity.test.ts`,
      title: "a result that comes twice frees one slot, whatever its worker says is free",
    },
  },
  {
    name: "expiry does not wait after an outage",
    edits: [
      {
        file: "server/maintain/expiry.ts",
        find: 'this.#apply({ type: "outage", nowMs: this.#nowMs() });',
        put: 'if (Date.now() < 0) this.#apply({ type: "outage", nowMs: this.#nowMs() });',
      },
    ],
    detector: {
      file: `${scenarios}/expiry.test.ts`,
      title: "waits after an outage of the database: it was us who were broken",
    },
  },
  {
    name: "a replay begins with attempt 1 again",
    edits: [
      {
        file: "server/store/job-changes.ts",
        find: "x.${j.priority}, d.attempt,\n      d.generation",
        put: "x.${j.priority}, 0,\n      d.generation",
      },
    ],
    detector: {
      file: `${scenarios}/budgets.test.ts`,
      title: "goes on with the attempt numbers of the run before",
    },
  },
  {
    name: "an idempotency key is everybody's",
    edits: [
      {
        file: "server/store/migrations/0000_tables.sql",
        find: 'CONSTRAINT "job_keys_org_id_type_key_pk" PRIMARY KEY("org_id","type","key")',
        put: 'CONSTRAINT "job_keys_org_id_type_key_pk" PRIMARY KEY("type","key")',
      },
      {
        file: "server/store/migrations/0001_policies.sql",
        find: `ON "muster"."job_keys" TO "muster_app", "muster_hot", "muster_sweep" USING (org_id = current_setting('muster.org')::uuid) WITH CHECK (org_id = current_setting('muster.org')::uuid)`,
        put: 'ON "muster"."job_keys" TO "muster_app", "muster_hot", "muster_sweep" USING (true) WITH CHECK (true)',
      },
      {
        file: "server/store/submit.ts",
        find: "on conflict (${k.orgId}, ${k.type}, ${k.key})",
        put: "on conflict (${k.type}, ${k.key})",
      },
      {
        file: "server/store/submit.ts",
        find: 'from ${jobKeys} x where x.${k.orgId} = ${param("org")}::uuid and x.${k.type}',
        put: "from ${jobKeys} x where x.${k.type}",
      },
    ],
    detector: {
      file: `${scenarios}/orgs.test.ts`,
      title: "one idempotency key in two orgs names two jobs, each of its org",
    },
  },
  {
    name: "the outbox does not wait for fdatasync",
    edits: [
      {
        file: "worker/outbox.ts",
        find: "if (batch.length > 0) await this.#fdatasync(file);",
        put: "if (batch.length > 0) void this.#fdatasync(file);",
      },
    ],
    detector: {
      file: "test/worker/outbox.test.ts",
      title: "resolves and shows nothing while fdatasync hangs",
    },
  },
  {
    name: "a batch takes two transactions",
    edits: [
      {
        file: "server/domain/submit.ts",
        find: "await runInOrg(hot, orgId, calls);",
        put: `for (const one of calls) {
    await runInOrg(hot, orgId, [one]);
  }`,
      },
    ],
    detector: {
      file: `${scenarios}/commits.test.ts`,
      title: "of a batch leaves nothing behind when a part of it is refused",
    },
  },
];

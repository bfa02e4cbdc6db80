import { readFileSync } from "node:fs";
import type { DescService } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import type { Client } from "@connectrpc/connect";
import { BatchService } from "@muster/client/v1/batch_service";
import { EnrolmentMode, EnrolmentService } from "@muster/client/v1/enrolment_service";
import { JobState } from "@muster/client/v1/job";
import { JobAction, JobService } from "@muster/client/v1/job_service";
import { KeyService } from "@muster/client/v1/key_service";
import { LeaseService } from "@muster/client/v1/lease_service";
import { OrgService } from "@muster/client/v1/org_service";
import { PersonService, Role } from "@muster/client/v1/person_service";
import { ProjectService, PullRequestState } from "@muster/client/v1/project_service";
import { QueueService, QueueType } from "@muster/client/v1/queue_service";
import { ScheduleService } from "@muster/client/v1/schedule_service";
import { SessionService } from "@muster/client/v1/session_service";
import { SettingsService } from "@muster/client/v1/settings_service";
import { WebhookService } from "@muster/client/v1/webhook_service";
import { WorkerAdminService } from "@muster/client/v1/worker_admin_service";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decodeId } from "../../server/domain/ids.ts";
import { insertAnything } from "../support/any-row.ts";
import { startTestServer, type TestServer } from "../support/coordinator.ts";
import { apiServices } from "../support/services.ts";
import { alertActs } from "./support/alert-acts.ts";
import { scheduleActs } from "./support/schedule-acts.ts";
import { actOnSkills } from "./support/skill-acts.ts";
import { actOnTemplates } from "./support/template-acts.ts";
import { webhookActs } from "./support/webhook-acts.ts";

/** What changes something and writes no row of its own: what else tells of it. */
const unaudited: Readonly<Record<string, string>> = {
  "ArtifactService.CreateArtifact": "hands out a place to write to; CommitArtifact is what keeps the file",
  "ArtifactService.CommitArtifact": "a handler's, tried with artifacts: test/domain/artifacts.test.ts",
  "WorkerService.Connect": "what the machine changes is in attempts and in the change feed",
  "WorkerService.Attach": "what the machine changes is in attempts and in the change feed",
  "WorkerService.Poll": "what the machine changes is in attempts and in the change feed",
  "WorkerService.Answer": "what the machine changes is in attempts and in the change feed",
  "WorkerService.Report": "what the machine changes is in attempts and in the change feed",
  "WorkerService.SubmitResults": "what the machine changes is in attempts and in the change feed",
  "WorkerService.Renew": "what the machine changes is in attempts and in the change feed",
  "WorkerService.ChangeLinks": "what the machine changes is in attempts and in the change feed",
  "WorkerService.ListParentResults": "only reads",
  "PersonService.Refresh": "a login goes on: it began with its row",
  "PersonService.StartDeviceLogin": "nobody is known yet: its approval is what counts",
  "PersonService.StartGithubLink": "nothing is linked yet: FinishGithubLink is what counts",
};

/** Acts of people themselves, and of machines: where the row of each is tried, and its action. */
const elsewhere: Readonly<Record<string, readonly [file: string, action: string]>> = {
  "EnrolmentService.Enrol": ["test/security/s09-enrolment.test.ts", "worker.enrol"],
  "EnrolmentService.EnrolOwnWorker": ["test/domain/enrolments.test.ts", "worker.enrol"],
  "PersonService.Register": ["test/domain/people.test.ts", "person.register"],
  "PersonService.AcceptInvitation": ["test/domain/people.test.ts", "invitation.accept"],
  "PersonService.Login": ["test/domain/logins.test.ts", "login.create"],
  "PersonService.LoginByProvider": ["test/domain/logins.test.ts", "login.create"],
  "PersonService.FinishDeviceLogin": ["test/domain/logins.test.ts", "login.create"],
  "PersonService.Logout": ["test/domain/logins.test.ts", "login.end"],
  "PersonService.ResetPassword": ["test/domain/password-resets.test.ts", "password.reset"],
  "PersonService.ChangePassword": ["test/domain/logins.test.ts", "password.change"],
  "PersonService.FinishGithubLink": ["test/domain/identities.test.ts", "identity.link"],
  "PersonService.UnlinkGithub": ["test/domain/identities.test.ts", "identity.unlink"],
  "PersonService.ApproveDeviceLogin": ["test/domain/device-logins.test.ts", "login.approve"],
};

let muster: TestServer;
let release: () => void = () => {};
beforeAll(async () => {
  muster = await startTestServer();
});
afterAll(async () => {
  release();
  await muster?.close();
});

const changing = (await apiServices()).flatMap((service) =>
  service.methods
    .filter(({ idempotency }) => idempotency !== MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS)
    .map((method) => `${service.name}.${method.name}`),
);

/** The rows of the audit log of all orgs. */
async function entries() {
  return muster.database.admin<{ action: string; actor: string; details: Record<string, unknown> }[]>`
    select action, actor, details from muster.audit_log order by audit_id`;
}

describe("S43 an operator's act and its audit row are one commit", () => {
  test("every method that changes something writes exactly one row a call, or is declared not to", async () => {
    const audited = new Map<string, string>();
    const of = <T extends DescService>(service: T): Client<T> => muster.client(service);
    async function act<T>(method: string, call: () => Promise<T>): Promise<T> {
      const before = await entries();
      const answer = await call();
      const added = (await entries()).slice(before.length);
      expect([method, added.length]).toEqual([method, 1]);
      expect([method, added[0]?.actor]).toEqual([method, expect.stringMatching(/^(key|platform):/)]);
      audited.set(method, added[0]?.action ?? "");
      return answer;
    }
    const keys = of(KeyService);
    const made = await act("KeyService.CreateKey", () => keys.createKey({ name: "a", scopes: ["read"] }));
    const rotated = await act("KeyService.RotateKey", () =>
      keys.rotateKey({ keyId: made.key?.keyId ?? "", reason: "old" }),
    );
    await act("KeyService.RegisterKey", () =>
      keys.registerKey({
        name: "b",
        scheme: "sha256",
        hash: "ab".repeat(32),
        prefix: "ba_",
        scopes: ["read"],
      }),
    );
    await act("KeyService.RevokeKey", () => keys.revokeKey({ keyId: rotated.key?.keyId ?? "" }));

    await alertActs(of, act);

    const workers = of(WorkerAdminService);
    const name = "w";
    await act("WorkerAdminService.CreateWorker", () => workers.createWorker({ name }));
    await act("WorkerAdminService.DrainWorker", () =>
      workers
        .drainWorker({ worker: { case: "name", value: name } } as never)
        .catch(() => workers.drainWorker({ name } as never)),
    );
    await act("WorkerAdminService.ResumeWorker", () => workers.resumeWorker({ name } as never));
    await act("WorkerAdminService.DisableWorker", () => workers.disableWorker({ name } as never));
    await act("WorkerAdminService.EnableWorker", () => workers.enableWorker({ name } as never));
    await act("WorkerAdminService.RemoveWorker", () => workers.removeWorker({ name } as never));

    const projects = of(ProjectService);
    await act("ProjectService.PutProject", () => projects.putProject({ project: { name: "acme/web" } }));
    const orgId = decodeId("org", (await keys.whoAmI({})).orgId);
    const url = "https://github.com/acme/web/pull/1";
    await insertAnything(muster.database, "pull_requests", orgId, { url: `'${url}'`, project: "'acme/web'" });
    await act("ProjectService.SetPullRequestState", () =>
      projects.setPullRequestState({ url, state: PullRequestState.CLOSED }),
    );
    await act("ProjectService.DeleteProject", () => projects.deleteProject({ name: "acme/web" }));

    const queue = { type: QueueType.QUEUE, name: "slow" };
    const queues = of(QueueService);
    await act("QueueService.SetQueueLimits", () =>
      queues.setQueueLimits({ ...queue, limits: { running: 3 } }),
    );
    await act("QueueService.PauseQueue", () => queues.pauseQueue(queue));
    await act("QueueService.ResumeQueue", () => queues.resumeQueue(queue));
    await act("SettingsService.PutSettings", () =>
      of(SettingsService).putSettings({
        scope: { scope: { case: "org", value: true } },
        settings: { retry: { maxAttempts: 1 } },
      }),
    );

    await scheduleActs(of(ScheduleService), act);
    await webhookActs(of(WebhookService), act);

    for (const sessionId of ["s1"]) {
      await insertAnything(muster.database, "sessions", orgId, {
        session_id: `'${sessionId}'`,
        project: "'acme/web'",
        role: "'main'",
        state: "1",
      });
    }
    const sessions = of(SessionService);
    const session = { sessionId: "s1" };
    await act("SessionService.SetPrimarySession", () => sessions.setPrimarySession(session));
    await act("SessionService.ArchiveSession", () => sessions.archiveSession(session));
    await act("SessionService.UnarchiveSession", () => sessions.unarchiveSession(session));
    await act("SessionService.RemoveSession", () => sessions.removeSession(session));

    const jobs = of(JobService);
    const { jobId } = await act("JobService.SubmitJob", () => jobs.submitJob({ job: { kind: "nobody" } }));
    const many = await act("BatchService.SubmitBatch", () =>
      of(BatchService).submitBatch({ jobs: [{ kind: "nobody" }, { kind: "nobody" }] }),
    );
    await act("JobService.UpdateJob", () => jobs.updateJob({ jobId, title: "new" }));
    await act("JobService.ParkJob", () => jobs.parkJob({ jobId }));
    await act("JobService.UnparkJob", () => jobs.unparkJob({ jobId }));
    await act("JobService.CancelJob", () => jobs.cancelJob({ jobId }));
    await act("JobService.RetryJob", () => jobs.retryJob({ jobId }));
    await jobs.cancelJob({ jobId });
    await act("JobService.DeleteJob", () => jobs.deleteJob({ jobId }));
    await act("JobService.ActOnJobs", () =>
      jobs.actOnJobs({
        action: JobAction.CANCEL,
        jobs: { case: "filter", value: `batch:${many.batchId}` },
        requestId: "r1",
      }),
    );
    const acted = (await entries()).at(-1);
    expect(JSON.stringify(acted?.details)).toContain("2");

    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const fail = async () => {
      throw new Error("no");
    };
    await muster.startWorker({ handlers: { hold: () => held, fail } } as never);
    const holding = await jobs.submitJob({ job: { kind: "hold" } });
    await muster.reach(holding.jobId, JobState.RUNNING);
    const { lease } = await of(LeaseService).getLease({ jobId: holding.jobId } as never);
    await act("LeaseService.RevokeLease", () =>
      of(LeaseService).revokeLease({ leaseId: lease?.leaseId ?? "", reason: "test" }),
    );
    const failing = await jobs.submitJob({ job: { kind: "fail", retry: { maxAttempts: 1 } } });
    await muster.reach(failing.jobId, JobState.DEAD);
    await act("JobService.DiscardDeadLetter", () => jobs.discardDeadLetter({ jobId: failing.jobId }));

    const enrolments = of(EnrolmentService);
    const limits = { slots: 1 };
    const { enrolment } = await act("EnrolmentService.CreateEnrolment", () =>
      enrolments.createEnrolment({ name: "lab", limits }),
    );
    await act("EnrolmentService.RevokeEnrolment", () =>
      enrolments.revokeEnrolment({ enrolmentId: enrolment?.enrolmentId ?? "" }),
    );
    await act("EnrolmentService.PutEnrolmentPolicy", () =>
      enrolments.putEnrolmentPolicy({ policy: { mode: EnrolmentMode.APPROVAL, limits } }),
    );
    await workers.createWorker({ name: "own" });
    await muster.database.admin`update muster.workers set approval = 'pending' where name = 'own'`;
    await act("WorkerAdminService.LimitWorker", () => workers.limitWorker({ name: "own", limits }));
    await act("WorkerAdminService.SetWorkerAvailability", () =>
      workers.setWorkerAvailability({ name: "own", availability: { slots: 1 } }),
    );
    await act("WorkerAdminService.ApproveWorker", () => workers.approveWorker({ name: "own" }));
    await act("WorkerAdminService.RejectWorker", () => workers.rejectWorker({ name: "own" }));

    const people = of(PersonService);
    const person = "ann@example.com";
    await act("PersonService.CreatePerson", () =>
      people.createPerson({
        email: person,
        name: "Ann",
        role: Role.VIEWER,
        password: "a long enough phrase",
      }),
    );
    await act("PersonService.CreateInvitation", () =>
      people.createInvitation({ email: "bob@example.com", role: Role.VIEWER }),
    );
    const { invitations } = await people.listInvitations({});
    const invitationId = invitations[0]?.invitationId ?? "";
    await act("PersonService.RevokeInvitation", () => people.revokeInvitation({ invitationId }));
    await act("PersonService.CreatePasswordReset", () => people.createPasswordReset({ person }));
    await act("PersonService.SetRole", () => people.setRole({ person, role: Role.OPERATOR }));
    await act("PersonService.SetDisabled", () => people.setDisabled({ person, disabled: true }));
    await act("PersonService.RemovePerson", () => people.removePerson({ person }));

    await actOnTemplates(of, act);
    await actOnSkills(of, act);

    // The last, since a sweep removes what is deleted.
    const orgs = of(OrgService);
    await act("OrgService.CreateOrg", () => orgs.createOrg({ name: "other" }));
    await act("OrgService.SuspendOrg", () => orgs.suspendOrg({ org: "other", reason: "unpaid" }));
    await act("OrgService.ResumeOrg", () => orgs.resumeOrg({ org: "other" }));
    await orgs.suspendOrg({ org: "other", reason: "left" });
    await act("OrgService.DeleteOrg", () =>
      orgs.deleteOrg({ org: "other", confirmName: "other", reason: "left" }),
    );

    for (const [file, action] of Object.values(elsewhere)) {
      expect([file, readFileSync(file, "utf8").includes(`"${action}"`)]).toEqual([file, true]);
    }
    const declared = [...Object.keys(unaudited), ...Object.keys(elsewhere)];
    expect([...audited.keys(), ...declared].sort()).toEqual(changing.toSorted());
  }, 240_000);

  test("a row that cannot be written takes the change with it", async () => {
    await muster.database.admin.unsafe(`create function muster.refuse() returns trigger language plpgsql as $$
      begin if new.action = 'project.put' then raise exception 'no'; end if; return new; end $$;
      create trigger refuse before insert on muster.audit_log for each row execute function muster.refuse()`);
    await expect(
      muster.client(ProjectService).putProject({ project: { name: "acme/never" } }),
    ).rejects.toThrow();
    await muster.database.admin.unsafe(
      "drop trigger refuse on muster.audit_log; drop function muster.refuse()",
    );
    const { projects } = await muster.client(ProjectService).listProjects({});
    expect(projects.map(({ name }) => name)).not.toContain("acme/never");
  });

  test("suspending and deleting an org need a reason", async () => {
    const orgs = muster.client(OrgService);
    await orgs.createOrg({ name: "reasons" });
    await expect(orgs.suspendOrg({ org: "reasons" })).rejects.toThrow(/reason/);
    await orgs.suspendOrg({ org: "reasons", reason: "x" });
    await expect(orgs.deleteOrg({ org: "reasons", confirmName: "reasons" })).rejects.toThrow(/reason/);
  });
});

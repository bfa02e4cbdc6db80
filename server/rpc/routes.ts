import type { DescService } from "@bufbuild/protobuf";
import type { ConnectRouter, ServiceImpl } from "@connectrpc/connect";
import { Health } from "@muster/client/grpc/health";
import { ServerReflection } from "@muster/client/grpc/reflection";
import { ServerReflection as ServerReflectionAlpha } from "@muster/client/grpc/reflection-v1alpha";
import { AlertService } from "@muster/client/v1/alert_service";
import { ArtifactService } from "@muster/client/v1/artifact_service";
import { AuditService } from "@muster/client/v1/audit_service";
import { BatchService } from "@muster/client/v1/batch_service";
import { EnrolmentService } from "@muster/client/v1/enrolment_service";
import { EventService } from "@muster/client/v1/event_service";
import { ExplainService } from "@muster/client/v1/explain_service";
import { JobService } from "@muster/client/v1/job_service";
import { KeyService } from "@muster/client/v1/key_service";
import { LeaseService } from "@muster/client/v1/lease_service";
import { OrgService } from "@muster/client/v1/org_service";
import { PersonService } from "@muster/client/v1/person_service";
import { ProjectService } from "@muster/client/v1/project_service";
import { QueueService } from "@muster/client/v1/queue_service";
import { ScheduleService } from "@muster/client/v1/schedule_service";
import { SessionService } from "@muster/client/v1/session_service";
import { SettingsService } from "@muster/client/v1/settings_service";
import { SkillService } from "@muster/client/v1/skill_service";
import { StatsService } from "@muster/client/v1/stats_service";
import { StatusService } from "@muster/client/v1/status_service";
import { SystemService } from "@muster/client/v1/system_service";
import { TemplateService } from "@muster/client/v1/template_service";
import { WatchService } from "@muster/client/v1/watch_service";
import { WebhookService } from "@muster/client/v1/webhook_service";
import { WorkerAdminService } from "@muster/client/v1/worker_admin_service";
import { WorkerService } from "@muster/client/v1/worker_service";
import { alertService } from "./alerts.ts";
import { artifactService } from "./artifacts.ts";
import { auditService } from "./audit.ts";
import { batchService } from "./batches.ts";
import { watchService } from "./changes.ts";
import { enrolmentService } from "./enrolments.ts";
import { eventService } from "./event-feed.ts";
import { webhookService } from "./event-webhooks.ts";
import { explainService } from "./explain.ts";
import { type HealthState, healthService } from "./health.ts";
import { jobService } from "./jobs.ts";
import { keyService } from "./keys.ts";
import { leaseService } from "./leases.ts";
import { orgService } from "./orgs.ts";
import type { ApiParts } from "./parts.ts";
import { personService } from "./people.ts";
import { projectService } from "./projects.ts";
import { queueService } from "./queues.ts";
import { type ReflectedSchema, reflectionAlphaService, reflectionService } from "./reflection.ts";
import { checkedService } from "./request-checks.ts";
import { scheduleService } from "./schedules.ts";
import { sessionService } from "./sessions.ts";
import { settingsService } from "./settings.ts";
import { skillService } from "./skills.ts";
import { statsService } from "./stats.ts";
import { statusService } from "./status.ts";
import { systemService } from "./system.ts";
import { templateService } from "./templates.ts";
import { workerAdminService } from "./workers.ts";

/** Every service of the API port, for health and reflection. */
export const apiServices: readonly DescService[] = [
  AlertService,
  ArtifactService,
  AuditService,
  BatchService,
  EnrolmentService,
  EventService,
  ExplainService,
  JobService,
  KeyService,
  LeaseService,
  OrgService,
  PersonService,
  ProjectService,
  QueueService,
  ScheduleService,
  SessionService,
  SettingsService,
  SkillService,
  StatsService,
  StatusService,
  SystemService,
  TemplateService,
  WatchService,
  WebhookService,
  WorkerAdminService,
  WorkerService,
  Health,
];

/** What the routes are made of. */
export interface ApiRouteParts extends ApiParts {
  readonly worker: ServiceImpl<typeof WorkerService>;
  readonly health: HealthState;
  /** Null: reflection is off. */
  readonly schema: ReflectedSchema | null;
}

/** Registers every service of the API port. */
export function apiRoutes(parts: ApiRouteParts): (router: ConnectRouter) => void {
  return (unchecked) => {
    const router = {
      service: <Service extends DescService>(service: Service, own: ServiceImpl<Service>) =>
        unchecked.service(service, checkedService(service, own)),
    };
    router.service(AlertService, alertService(parts));
    router.service(ArtifactService, artifactService(parts));
    router.service(AuditService, auditService(parts));
    router.service(BatchService, batchService(parts));
    router.service(EnrolmentService, enrolmentService(parts));
    router.service(EventService, eventService(parts));
    router.service(ExplainService, explainService(parts));
    router.service(JobService, jobService(parts));
    router.service(KeyService, keyService(parts));
    router.service(LeaseService, leaseService(parts));
    router.service(OrgService, orgService(parts));
    router.service(PersonService, personService(parts));
    router.service(ProjectService, projectService(parts));
    router.service(QueueService, queueService(parts));
    router.service(ScheduleService, scheduleService(parts));
    router.service(SessionService, sessionService(parts));
    router.service(SettingsService, settingsService(parts));
    router.service(SkillService, skillService(parts));
    router.service(StatsService, statsService(parts));
    router.service(StatusService, statusService(parts));
    router.service(SystemService, systemService(parts));
    router.service(TemplateService, templateService(parts));
    router.service(WatchService, watchService(parts));
    router.service(WebhookService, webhookService(parts));
    router.service(WorkerAdminService, workerAdminService(parts));
    router.service(WorkerService, parts.worker);
    router.service(Health, healthService(parts.health));
    if (parts.schema === null) return;
    router.service(ServerReflection, reflectionService(parts.schema));
    router.service(ServerReflectionAlpha, reflectionAlphaService(parts.schema));
  };
}

import type { DescMethod, DescService } from "@bufbuild/protobuf";
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
import { usageError } from "../errors.ts";
import { didYouMean } from "../input/suggest.ts";

/** Every service of the API. */
export const services: readonly DescService[] = [
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
];

/** Every method as `Service/Method`. */
export function methodNames(): string[] {
  return services.flatMap((service) => service.methods.map((method) => `${service.name}/${method.name}`));
}

/**
 * The method of a name: `JobService/GetJob`, `muster.v1.JobService/GetJob`, or `GetJob` where only one service has it.
 * Throws a usage error.
 */
export function findMethod(name: string): DescMethod {
  const [, service = "", method = ""] = /^\/?(?:muster\.v1\.)?(?:([^/]*)\/)?([^/]+)$/.exec(name) ?? [];
  const found = services
    .filter((one) => service === "" || one.name === service)
    .flatMap((one) => one.methods.filter((of) => of.name === method));
  const [first] = found;
  if (first !== undefined && found.length === 1) return first;
  const names = service === "" ? services.flatMap((one) => one.methods.map((of) => of.name)) : methodNames();
  throw usageError(
    found.length > 1
      ? `several services have a method ${method}`
      : `there is no method ${JSON.stringify(name)}`,
    found.length > 1
      ? `Name the service: ${found.map((one) => `${one.parent.name}/${method}`).join(", ")}`
      : (didYouMean(service === "" ? method : `${service}/${method}`, names) ??
          "See them all with: muster rpc --list"),
  );
}

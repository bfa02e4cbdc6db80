import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import {
  EnrolmentMode,
  type EnrolmentPolicySchema,
  type EnrolmentSchema,
  type EnrolmentService,
  EnrolmentState,
} from "@muster/client/v1/enrolment_service";
import { enrol, enrolOwnWorker } from "../domain/enrol.ts";
import {
  closedPolicy,
  type EnrolmentPolicy,
  getEnrolmentPolicy,
  putEnrolmentPolicy,
} from "../domain/enrolment-policies.ts";
import {
  createEnrolment,
  type EnrolmentView,
  listEnrolments,
  revokeEnrolment,
} from "../domain/enrolments.ts";
import { callerOf } from "./auth.ts";
import { type Problems, pageOf, readDuration, refuseProblems, required, writeTime } from "./messages.ts";
import type { ApiParts } from "./parts.ts";
import { limitsMessage, readAvailability, readLimits, readStrictLimits } from "./worker-limits.ts";
import { workerMessage } from "./workers.ts";

const defaultTtlMs = 900_000;

/** `muster.v1.EnrolmentService`. */
export function enrolmentService({ coordinator: c }: ApiParts): ServiceImpl<typeof EnrolmentService> {
  return {
    async createEnrolment({ name, limits, ttl, uses, namePattern }, context) {
      const problems: Problems = [];
      const ttlMs = readDuration(problems, "ttl", ttl) ?? defaultTtlMs;
      refuseProblems(problems);
      const { enrolment, token } = await createEnrolment(c, callerOf(context), {
        ...{ name, namePattern, ttlMs, uses: uses === 0 ? 1 : uses },
        limits: readStrictLimits(limits),
      });
      return { enrolment: enrolmentMessage(enrolment), token };
    },

    async listEnrolments(request, context) {
      const wanted = { ...pageOf(request), isWithEnded: request.all };
      const { items, nextPageToken } = await listEnrolments(c, callerOf(context), wanted);
      return { enrolments: items.map(enrolmentMessage), nextPageToken };
    },

    async revokeEnrolment({ enrolmentId, reason }, context) {
      const view = await revokeEnrolment(c, callerOf(context), { keyId: enrolmentId, reason });
      return { enrolment: enrolmentMessage(view) };
    },

    async enrol({ name, machine, host, requestId }, context) {
      const { worker, key } = await enrol(c, callerOf(context), { name, machine, host, requestId });
      return { worker: workerMessage(worker), key };
    },

    async enrolOwnWorker({ name, availability }, context) {
      const own = { name, availability: readAvailability(availability) };
      const { worker, key } = await enrolOwnWorker(c, callerOf(context), own);
      return { worker: workerMessage(worker), key };
    },

    async getEnrolmentPolicy(_, context) {
      return { policy: policyMessage(await getEnrolmentPolicy(c, callerOf(context))) };
    },

    async putEnrolmentPolicy({ policy, reason }, context) {
      const problems: Problems = [];
      const isThere = required(problems, "policy", policy);
      const mode = modeOf(problems, policy?.mode ?? EnrolmentMode.UNSPECIFIED);
      refuseProblems(problems);
      if (!isThere) throw new Error("what is required was not refused");
      const { machinesPerPerson, limits, newcomerLimits } = policy;
      const put = await putEnrolmentPolicy(c, callerOf(context), {
        policy: {
          mode,
          machinesPerPerson: machinesPerPerson === 0 ? closedPolicy.machinesPerPerson : machinesPerPerson,
          limits: readStrictLimits(limits),
          newcomerLimits:
            newcomerLimits === undefined ? closedPolicy.newcomerLimits : readLimits(newcomerLimits),
        },
        reason,
      });
      return { policy: policyMessage(put) };
    },
  };
}

function enrolmentMessage(view: EnrolmentView): MessageInitShape<typeof EnrolmentSchema> {
  const { keyId, name, state, namePattern, uses, used, creator } = view;
  return {
    ...{ enrolmentId: keyId, name, namePattern, uses, used, creator },
    state: states[state],
    limits: limitsMessage(view.limits),
    createTime: writeTime(view.createdAt),
    expireTime: writeTime(view.expiresAt),
  };
}

function policyMessage(policy: EnrolmentPolicy): MessageInitShape<typeof EnrolmentPolicySchema> {
  return {
    mode: modes[policy.mode],
    machinesPerPerson: policy.machinesPerPerson,
    limits: limitsMessage(policy.limits),
    newcomerLimits: limitsMessage(policy.newcomerLimits),
  };
}

function modeOf(problems: Problems, mode: EnrolmentMode): EnrolmentPolicy["mode"] {
  switch (mode) {
    case EnrolmentMode.UNSPECIFIED:
    case EnrolmentMode.CLOSED:
      return "closed";
    case EnrolmentMode.APPROVAL:
      return "approval";
    case EnrolmentMode.OPEN:
      return "open";
  }
  problems.push({ field: "policy.mode", message: "must be CLOSED, APPROVAL or OPEN" });
  return "closed";
}

const modes = {
  closed: EnrolmentMode.CLOSED,
  approval: EnrolmentMode.APPROVAL,
  open: EnrolmentMode.OPEN,
} as const;

const states = {
  active: EnrolmentState.ACTIVE,
  used: EnrolmentState.USED,
  expired: EnrolmentState.EXPIRED,
  revoked: EnrolmentState.REVOKED,
} as const;

import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import {
  DeviceLoginState,
  type InvitationSchema,
  type PersonSchema,
  type PersonService,
  Role,
  type TokensSchema,
} from "@muster/client/v1/person_service";
import { changePassword, logInByPassword, register, type Stranger } from "../domain/accounts.ts";
import { approveDeviceLogin, finishDeviceLogin, startDeviceLogin } from "../domain/device-logins.ts";
import { finishGithubLink, logInByProvider, startGithubLink, unlinkGithub } from "../domain/identities.ts";
import {
  acceptInvitation,
  createInvitation,
  type InvitationView,
  listInvitations,
  revokeInvitation,
} from "../domain/invitations.ts";
import { logOut, type PersonTokens, refreshLogin } from "../domain/logins.ts";
import { createPasswordReset, resetPassword } from "../domain/password-resets.ts";
import {
  createPerson,
  getPerson,
  listPeople,
  removePerson,
  type SelfView,
  setDisabled,
  setRole,
} from "../domain/people.ts";
import { isRole, type Role as RoleName } from "../domain/rules/people.ts";
import { addressKey, callerOf } from "./auth.ts";
import {
  type Problems,
  pageOf,
  readDuration,
  readId,
  readReason,
  refuseProblems,
  writeId,
  writeTime,
} from "./messages.ts";
import type { ApiParts } from "./parts.ts";
import { requestIdKey } from "./request-id.ts";

/** `muster.v1.PersonService`. */
export function personService({ coordinator: c }: ApiParts): ServiceImpl<typeof PersonService> {
  return {
    async register({ email, password, name, invitation }, context) {
      const { person, tokens } = await register(
        c,
        { email, password, name, invitation },
        strangerOf(context),
      );
      return { person: personMessage(person), tokens: tokensMessage(tokens) };
    },
    async login({ email, password }, context) {
      return { tokens: tokensMessage(await logInByPassword(c, { email, password }, strangerOf(context))) };
    },
    async loginByProvider({ token }, context) {
      return { tokens: tokensMessage(await logInByProvider(c, token, strangerOf(context))) };
    },
    async refresh({ refreshToken }, context) {
      return { tokens: tokensMessage(await refreshLogin(c, refreshToken, strangerOf(context).requestId)) };
    },
    async logout({ all }, context) {
      return { ended: await logOut(c, callerOf(context), { isAll: all }) };
    },
    async changePassword({ password, newPassword }, context) {
      return { ended: await changePassword(c, callerOf(context), { password, newPassword }) };
    },

    async startDeviceLogin(_, context) {
      const { expiresAt, intervalMs, ...codes } = await startDeviceLogin(c, strangerOf(context));
      return { ...codes, expireTime: timestampFromDate(expiresAt), interval: durationFromMs(intervalMs) };
    },
    async finishDeviceLogin({ deviceCode }, context) {
      const answer = await finishDeviceLogin(c, deviceCode, strangerOf(context));
      const state = states[answer.state];
      if ("tokens" in answer) return { state, tokens: tokensMessage(answer.tokens) };
      return "intervalMs" in answer ? { state, interval: durationFromMs(answer.intervalMs) } : { state };
    },
    async approveDeviceLogin({ userCode, person }, context) {
      return { email: await approveDeviceLogin(c, callerOf(context), { userCode, person }) };
    },

    async startGithubLink(_, context) {
      const { expiresInMs, intervalMs, ...codes } = await startGithubLink(c, callerOf(context));
      const expireTime = timestampFromDate(new Date(c.nowMs() + expiresInMs));
      return { ...codes, expireTime, interval: durationFromMs(intervalMs) };
    },
    async finishGithubLink({ deviceCode }, context) {
      const answer = await finishGithubLink(c, callerOf(context), deviceCode);
      const state = states[answer.state];
      if (answer.state === "approved") return { state, githubLogin: answer.login };
      const isSlower = answer.state === "slow_down" && answer.intervalMs !== null;
      return isSlower ? { state, interval: durationFromMs(answer.intervalMs) } : { state };
    },
    async unlinkGithub(_, context) {
      await unlinkGithub(c, callerOf(context));
      return {};
    },

    async createInvitation({ email, role, ttl }, context) {
      const problems: Problems = [];
      const ttlMs = readDuration(problems, "ttl", ttl);
      const asked = { email, role: readRole(problems, role), ttlMs };
      refuseProblems(problems);
      const { code, expiresAt } = await createInvitation(c, callerOf(context), asked);
      return { code, expireTime: timestampFromDate(expiresAt) };
    },
    async listInvitations(request, context) {
      const { items, nextPageToken } = await listInvitations(c, callerOf(context), pageOf(request));
      return { invitations: items.map(invitationMessage), nextPageToken };
    },
    async revokeInvitation(request, context) {
      const problems: Problems = [];
      const invitationId = readId(problems, "invitation", request.invitationId, "invitationId") ?? "";
      const reason = readReason(problems, request.reason);
      refuseProblems(problems);
      await revokeInvitation(c, callerOf(context), { invitationId, reason });
      return {};
    },
    async createPasswordReset({ person, ttl, reason }, context) {
      const problems: Problems = [];
      const asked = {
        person,
        reason: readReason(problems, reason),
        ttlMs: readDuration(problems, "ttl", ttl),
      };
      refuseProblems(problems);
      const { code, expiresAt } = await createPasswordReset(c, callerOf(context), asked);
      return { code, expireTime: timestampFromDate(expiresAt) };
    },
    async resetPassword({ code, newPassword }, context) {
      return { ended: await resetPassword(c, { code, newPassword }, strangerOf(context)) };
    },
    async acceptInvitation({ code }, context) {
      const { orgId, role } = await acceptInvitation(c, callerOf(context), code);
      return { orgId: writeId("org", orgId), role: roleNumbers[role] };
    },
    async createPerson({ email, name, role, password }, context) {
      const problems: Problems = [];
      const asked = { email, name, role: readRole(problems, role), password };
      refuseProblems(problems);
      return { person: personMessage(await createPerson(c, callerOf(context), asked)) };
    },
    async getPerson({ person }, context) {
      return { person: personMessage(await getPerson(c, callerOf(context), person)) };
    },
    async listPeople(request, context) {
      const { items, nextPageToken } = await listPeople(c, callerOf(context), pageOf(request));
      return { people: items.map((item) => personMessage(item)), nextPageToken };
    },
    async setRole({ person, role, reason }, context) {
      const problems: Problems = [];
      const asked = { person, role: readRole(problems, role), reason };
      refuseProblems(problems);
      return { person: personMessage(await setRole(c, callerOf(context), asked)) };
    },
    async setDisabled({ person, disabled, reason }, context) {
      const asked = { person, isDisabled: disabled, reason };
      return { person: personMessage(await setDisabled(c, callerOf(context), asked)) };
    },
    async removePerson({ person, reason }, context) {
      await removePerson(c, callerOf(context), { person, reason });
      return {};
    },
  };
}

function invitationMessage(view: InvitationView): MessageInitShape<typeof InvitationSchema> {
  const { invitationId, email, role, createdAt, expiresAt } = view;
  return {
    invitationId: writeId("invitation", invitationId),
    email,
    role: isRole(role) ? roleNumbers[role] : Role.UNSPECIFIED,
    createTime: writeTime(createdAt),
    expireTime: writeTime(expiresAt),
  };
}

/** A member on the wire. */
export function personMessage(
  { personId, email, name, role, createdAt, disabledAt }: SelfView,
  githubLogin = "",
): MessageInitShape<typeof PersonSchema> {
  return {
    personId: writeId("person", personId),
    email,
    name,
    role: isRole(role) ? roleNumbers[role] : Role.UNSPECIFIED,
    createTime: writeTime(createdAt),
    disableTime: writeTime(disabledAt),
    githubLogin,
  };
}

const roleNumbers = { viewer: Role.VIEWER, operator: Role.OPERATOR, admin: Role.ADMIN } as const;

const states = {
  approved: DeviceLoginState.APPROVED,
  authorization_pending: DeviceLoginState.AUTHORIZATION_PENDING,
  slow_down: DeviceLoginState.SLOW_DOWN,
  expired_token: DeviceLoginState.EXPIRED_TOKEN,
} as const;

function readRole(problems: Problems, role: Role): RoleName {
  const found = (["viewer", "operator", "admin"] as const).find((name) => roleNumbers[name] === role);
  if (found === undefined) {
    problems.push({ field: "role", message: "must be ROLE_VIEWER, ROLE_OPERATOR or ROLE_ADMIN" });
  }
  return found ?? "viewer";
}

function tokensMessage(tokens: PersonTokens): MessageInitShape<typeof TokensSchema> {
  const { accessToken, accessExpiresAt, refreshToken, refreshExpiresAt } = tokens;
  return {
    accessToken,
    accessExpireTime: timestampFromDate(accessExpiresAt),
    refreshToken,
    refreshExpireTime: timestampFromDate(refreshExpiresAt),
  };
}

function strangerOf({ values }: Pick<HandlerContext, "values">): Stranger {
  return { requestId: values.get(requestIdKey), address: values.get(addressKey) };
}

import type { GithubAnswer, GithubCode } from "../outbound/github-login.ts";
import type { ProviderClaims } from "../outbound/open-id.ts";
import { inOrg } from "../store/database.ts";
import { deleteIdentity, findIdentity, linkIdentity } from "../store/identities.ts";
import { endLogins } from "../store/logins.ts";
import {
  type Account,
  findAccount,
  findOrgByName,
  readAccount,
  readMember,
  setPasswordHash,
  updateMember,
  vouchForAccount,
} from "../store/people.ts";
import type { Stranger } from "./accounts.ts";
import { audit } from "./audit.ts";
import type { Caller } from "./context.ts";
import { alreadyExists, DomainError, failedPrecondition, unavailable } from "./errors.ts";
import { encodeId } from "./ids.ts";
import { distrustKeys, type KeyContext, systemCaller } from "./keys.ts";
import {
  beginLogin,
  type PersonTokens,
  personCaller,
  requirePerson,
  requireWholeLogin,
  tokensOf,
} from "./logins.ts";
import { addAccount } from "./people.ts";
import { isRole, normalizeEmail, type Role, roles } from "./rules/people.ts";

/** Begins to link an account of GitHub to the person who calls. Nothing is kept of it. */
export async function startGithubLink(c: KeyContext, caller: Caller): Promise<GithubCode> {
  requireWholeLogin(requirePerson(caller).login);
  return atProvider(c, () => githubOf(c).start());
}

/** Asks GitHub once whether the code was entered; then links the account, in place of the one before. IDENTITY_TAKEN. */
export async function finishGithubLink(
  c: KeyContext,
  caller: Caller,
  deviceCode: string,
): Promise<GithubAnswer> {
  const { personId, login } = requirePerson(caller);
  requireWholeLogin(login);
  if (!/^[\w-]{10,200}$/.test(deviceCode)) return { state: "expired_token" };
  const answer = await atProvider(c, () => githubOf(c).finish(deviceCode));
  if (answer.state !== "approved") return answer;
  const { homeOrgId } = login;
  await inOrg(c.db.app, homeOrgId, async (tx) => {
    const identity = { orgId: homeOrgId, personId, provider: "github" };
    if (!(await linkIdentity(tx, { ...identity, subject: answer.id, login: answer.login }))) {
      throw alreadyExists("IDENTITY_TAKEN", { provider: "github", login: answer.login });
    }
    await audit(
      tx,
      c,
      { ...caller, orgId: homeOrgId },
      {
        action: "identity.link",
        target: encodeId("person", personId),
        details: { provider: "github", id: answer.id, login: answer.login },
      },
    );
  });
  return answer;
}

/** Unlinks the account of GitHub of the person who calls; without one nothing happens. */
export async function unlinkGithub(c: KeyContext, caller: Caller): Promise<void> {
  const { personId, login } = requirePerson(caller);
  requireWholeLogin(login);
  const { homeOrgId } = login;
  await inOrg(c.db.app, homeOrgId, async (tx) => {
    if (!(await deleteIdentity(tx, homeOrgId, personId, "github"))) return;
    await audit(
      tx,
      c,
      { ...caller, orgId: homeOrgId },
      {
        action: "identity.unlink",
        target: encodeId("person", personId),
        details: { provider: "github" },
      },
    );
  });
}

/**
 * Logs in by a token of the configured provider. Who was here before is known by the provider's id of them; else by an
 * e-mail that the provider has verified. Where its roles are configured, they make an account and settle its role at each
 * login; NOT_MEMBER without one. LOGIN_INVALID for any token that is not good.
 */
export async function logInByProvider(
  c: KeyContext,
  token: string,
  stranger: Stranger,
): Promise<PersonTokens> {
  const { provider } = c.people;
  if (provider === null) throw failedPrecondition("PROVIDER_OFF");
  const names = stranger.address === "" ? [] : [{ name: `address ${stranger.address}`, free: 20 }];
  const claims = await c.people.brake.attempt(names, async () => {
    const isToken = token.length <= 16_384 && /^[\w-]+\.[\w-]+\.[\w-]+$/.test(token);
    const read = isToken ? await atProvider(c, () => provider.read(token)) : null;
    if (read === null) throw new DomainError("LOGIN_INVALID");
    return read;
  });
  const role = roleOf(c, claims);
  const account = await accountOf(c, claims, role, stranger);
  if (role !== undefined) await settleRole(c, account, role);
  const begun = await inOrg(c.db.app, account.orgId, (tx) =>
    beginLogin(c, tx, { account, method: "provider", ...stranger }),
  );
  return tokensOf(c, begun);
}

/** What the provider's roles come to: the most of them; null for none; undefined where none are configured. */
function roleOf({ config }: KeyContext, { groups }: ProviderClaims): Role | null | undefined {
  if (config.oidcRoleClaim === undefined) return undefined;
  const held = config.oidcRoles.flatMap((pair) => {
    const at = pair.lastIndexOf("=");
    return groups.includes(pair.slice(0, at)) ? [pair.slice(at + 1)] : [];
  });
  return roles.findLast((role) => held.includes(role)) ?? null;
}

async function accountOf(
  c: KeyContext,
  claims: ProviderClaims,
  role: Role | null | undefined,
  stranger: Stranger,
): Promise<Account> {
  const { issuer, subject } = claims;
  const known = await findIdentity(c.db.app, issuer, subject);
  if (known !== null) {
    const { orgId, personId } = known;
    const account = await inOrg(c.db.app, orgId, (tx) => readAccount(tx, orgId, personId));
    if (account !== null) return account;
  }
  const email = claims.isEmailVerified ? normalizeEmail(claims.email) : null;
  if (email === null) throw new DomainError("NOT_MEMBER", { message: "The provider has verified no e-mail" });
  const account = await findAccount(c.db.app, email);
  if (account !== null) {
    await adopt(c, account, claims, stranger);
    return account;
  }
  if (role === undefined || role === null) throw new DomainError("NOT_MEMBER");
  return addByProvider(c, { claims, email, role }, stranger);
}

// Who registered by themselves with an e-mail of somebody else must not wait in their account: what they set falls.
async function adopt(
  c: KeyContext,
  account: Account,
  claims: ProviderClaims,
  { requestId }: Stranger,
): Promise<void> {
  const { orgId, personId, email, vouchedAt } = account;
  const isOwnWord = vouchedAt === null;
  const ended = await inOrg(c.db.app, orgId, async (tx) => {
    const identity = { orgId, personId, provider: claims.issuer, subject: claims.subject, login: email };
    if (!(await linkIdentity(tx, identity))) throw alreadyExists("IDENTITY_TAKEN", { email });
    await vouchForAccount(tx, orgId, personId);
    const ids = isOwnWord ? await endLogins(tx, orgId, { personId }) : [];
    if (isOwnWord) await setPasswordHash(tx, orgId, personId, { passwordHash: null });
    await audit(tx, c, personCaller(account, "", requestId), {
      action: "identity.link",
      target: encodeId("person", personId),
      details: { provider: claims.issuer, id: claims.subject, droppedPassword: isOwnWord },
    });
    return ids;
  });
  distrustKeys(c, ended);
}

async function addByProvider(
  c: KeyContext,
  { claims, email, role }: { readonly claims: ProviderClaims; readonly email: string; readonly role: Role },
  { requestId, address }: Stranger,
): Promise<Account> {
  const orgId = await findOrgByName(c.db.sweep, c.config.oidcOrg);
  if (orgId === null) throw new DomainError("NOT_MEMBER");
  const personId = c.newId();
  const name = [...claims.name.replaceAll(/\p{Cc}/gu, " ")].slice(0, 100).join("");
  const account = { orgId, personId, email, name, passwordHash: null };
  await inOrg(c.db.app, orgId, async (tx) => {
    await addAccount(tx, { ...account, isVouched: true }, role);
    const identity = { orgId, personId, provider: claims.issuer, subject: claims.subject, login: email };
    if (!(await linkIdentity(tx, identity))) throw alreadyExists("IDENTITY_TAKEN", { email });
    await audit(tx, c, personCaller(account, "", requestId), {
      action: "person.register",
      target: encodeId("person", personId),
      details: { email, role, provider: claims.issuer, address },
    });
  });
  return { ...account, vouchedAt: new Date(c.nowMs()) };
}

// The provider's word is the role at each login; who has none there is disabled here.
async function settleRole(c: KeyContext, { personId }: Account, role: Role | null): Promise<void> {
  const orgId = await findOrgByName(c.db.sweep, c.config.oidcOrg);
  if (orgId === null) throw new DomainError("NOT_MEMBER");
  const isMember = await inOrg(c.db.app, orgId, async (tx) => {
    const member = await readMember(tx, orgId, { personId }, { isLocked: true });
    if (member === null || !isRole(member.role)) return false;
    if (role === null || role === member.role) return true;
    await updateMember(tx, orgId, personId, { role });
    await audit(tx, c, systemCaller(orgId), {
      action: "person.role",
      target: encodeId("person", personId),
      reason: "the provider says so",
      details: { email: member.email, before: member.role, after: role },
    });
    return true;
  });
  if (!isMember || role === null) throw new DomainError("NOT_MEMBER");
}

function githubOf(c: KeyContext) {
  if (c.people.github === null) throw failedPrecondition("PROVIDER_OFF");
  return c.people.github;
}

async function atProvider<T>(c: KeyContext, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    if (error instanceof DomainError) throw error;
    // Its message names what was answered, never what was sent.
    c.log.warn({ err: error }, "a provider of logins did not answer");
    throw unavailable("PROVIDER_UNAVAILABLE", 5_000, error);
  }
}

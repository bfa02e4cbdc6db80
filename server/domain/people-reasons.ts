import { checkId, reason as r } from "./reason-entry.ts";

/** The reasons of errors about people, their logins and their own machines. */
export const peopleReasons = {
  PERSON_NOT_FOUND: r(
    "not_found",
    "There is no such person in the org.",
    "List them with `muster person list`.",
  ),
  EMAIL_TAKEN: r(
    "already_exists",
    "The e-mail has an account.",
    "Log in with it; to let its person into the org, invite them: `muster person invite`.",
  ),
  IDENTITY_TAKEN: r(
    "already_exists",
    "The account stands for another person.",
    "Unlink it there first, or link another one.",
  ),
  MEMBER_ALREADY: r(
    "already_exists",
    "The person is in the org.",
    "Change their role with `muster person role`.",
  ),
  INVITATION_NOT_FOUND: r(
    "not_found",
    "There is no such invitation, or it can no longer be used.",
    "List those that can with `muster person invitations`.",
  ),
  ACCOUNT_ELSEWHERE: r(
    "failed_precondition",
    "The account of the person is another org's.",
    "Ask an admin of the org in which the account was made.",
  ),
  ENROLMENT_NOT_FOUND: r("not_found", "There is no such enrolment.", checkId),
  ENROLMENT_CLOSED: r(
    "failed_precondition",
    "The org does not let people enrol own machines.",
    "Ask an admin of the org to allow it, or for the token of an enrolment.",
  ),
  ORG_NOT_CHOSEN: r(
    "failed_precondition",
    "The person is in several orgs, or in none: the call must name one.",
    "Name one in the header muster-org, by its name or id.",
  ),
  PERSON_NEEDED: r(
    "failed_precondition",
    "This is for people: a key has no account.",
    "Log in with `muster login --email`.",
  ),
  LOGIN_INVALID: r(
    "unauthenticated",
    "The e-mail or the password is wrong, or the token is not valid.",
    "Check both; after too many tries there is a wait.",
  ),
  LOGIN_ENDED: r("unauthenticated", "The login has ended.", "Log in again with `muster login`."),
  REGISTRATION_OFF: r(
    "permission_denied",
    "Nobody can make an account here without an invitation, or at all.",
    "Ask an admin of the org: `muster person create` or `muster person invite`.",
  ),
  LOGIN_LIMITED: r(
    "permission_denied",
    "This login was approved by a key, for one org: it cannot change the account.",
    "Log in with the password, or by the provider.",
  ),
  NOT_MEMBER: r(
    "permission_denied",
    "The person may not do anything in the org.",
    "Ask an admin of the org.",
  ),
};

import { baseUrl, choice, duration, whole } from "./config-forms.ts";
import { optionalText, optionalUrl, pairs, slugText } from "./config-texts.ts";
import { isRole } from "./domain/rules/people.ts";

/** The settings of people's accounts and logins. */
export const peopleFields = {
  registration: choice(
    "registration",
    ["off", "invited", "open"],
    "Who may make an account: nobody, whoever was invited, or anybody.",
  ),
  registrationRole: choice(
    "registration-role",
    ["viewer", "operator"],
    "What who registers without an invitation may do in the org default.",
  ),
  passwordCost: whole(
    "password-cost",
    17,
    10,
    20,
    "Work of hashing a password by scrypt: the base-2 logarithm of N; 17 takes 128 MiB.",
  ),
  accessTokenTtlMs: duration("access-token-ttl", "15m", "1s", "24h", "How long an access token is good."),
  refreshTokenTtlMs: duration(
    "refresh-token-ttl",
    "7d",
    "10s",
    "365d",
    "How long a login stays that nobody uses.",
  ),
  tokenIssuer: slugText("token-issuer", "muster", "Issuer of access tokens: the same on every coordinator."),

  oidcIssuer: optionalUrl("oidc-issuer", "OpenID provider whose tokens log people in, by its issuer URL."),
  oidcAudience: optionalText("oidc-audience", "Audience of its tokens: the client id of Muster there."),
  oidcJwksUrl: optionalUrl("oidc-jwks-url", "Its keys, where discovery does not tell."),
  oidcOrg: slugText("oidc-org", "default", "Org that its roles are of."),
  oidcRoleClaim: optionalText(
    "oidc-role-claim",
    "Claim that says what a person may do, like groups. Without one, membership goes by the verified e-mail.",
  ),
  oidcRoles: pairs(
    "oidc-roles",
    "Values of that claim with their roles: admins=admin,everybody=viewer.",
    isRole,
    "viewer, operator or admin",
  ),

  githubClientId: optionalText(
    "github-client-id",
    "Client id of the GitHub app by which people link their account.",
  ),
  githubLoginUrl: baseUrl("github-login-url", "https://github.com", "The GitHub where they enter the code."),
};

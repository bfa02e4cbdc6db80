import type { Config } from "../config.ts";
import { type GithubLogin, githubLogin } from "../outbound/github-login.ts";
import { type OpenIdProvider, openIdProvider } from "../outbound/open-id.ts";
import { AccessTokens } from "./access-tokens.ts";
import { LoginBrake } from "./login-brake.ts";
import { Passwords } from "./passwords.ts";

/** What verbs about people work with. */
export interface PeopleParts {
  readonly passwords: Passwords;
  /** Those who guess. */
  readonly brake: LoginBrake;
  readonly tokens: AccessTokens;
  /** Null: none is configured. */
  readonly provider: OpenIdProvider | null;
  /** Null: no app is configured. */
  readonly github: GithubLogin | null;
}

/** Makes them. `secrets`: what keys of tokens derive from, newest first; `steadyMs` is a clock that never goes back. */
export function createPeopleParts(options: {
  readonly config: Config;
  readonly secrets: readonly Uint8Array[];
  readonly newId: () => string;
  readonly nowMs: () => number;
  readonly steadyMs: () => number;
}): PeopleParts {
  const { config, secrets, newId, nowMs, steadyMs } = options;
  const { tokenIssuer: issuer, accessTokenTtlMs: ttlMs, oidcIssuer, oidcAudience, githubClientId } = config;
  return {
    passwords: new Passwords({ cost: config.passwordCost }),
    brake: new LoginBrake({ nowMs: steadyMs }),
    tokens: new AccessTokens({ secrets, issuer, ttlMs, nowMs, newId }),
    provider:
      oidcIssuer === undefined || oidcAudience === undefined
        ? null
        : openIdProvider({
            issuer: oidcIssuer,
            audience: oidcAudience,
            jwksUrl: config.oidcJwksUrl,
            roleClaim: config.oidcRoleClaim,
            nowMs,
          }),
    github:
      githubClientId === undefined
        ? null
        : githubLogin({
            clientId: githubClientId,
            loginUrl: config.githubLoginUrl,
            apiUrl: config.githubApiUrl,
          }),
  };
}

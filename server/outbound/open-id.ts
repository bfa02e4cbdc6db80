import { createRemoteJWKSet, errors, jwtVerify } from "jose";

/** What a token of a provider says of a person. */
export interface ProviderClaims {
  readonly issuer: string;
  /** The person's id there. */
  readonly subject: string;
  /** Empty: it does not say. */
  readonly email: string;
  readonly isEmailVerified: boolean;
  readonly name: string;
  /** The values of the claim of roles; none where it is absent. */
  readonly groups: readonly string[];
}

/** Who reads the tokens of a provider. */
export interface OpenIdProvider {
  readonly issuer: string;
  /** What a token says; null for any that is not valid; throws when the provider cannot be reached. */
  read(token: string): Promise<ProviderClaims | null>;
}

/** How to know a provider. */
export interface OpenIdOptions {
  readonly issuer: string;
  readonly audience: string;
  /** Undefined: discovery tells. */
  readonly jwksUrl: string | undefined;
  readonly roleClaim: string | undefined;
  /** Milliseconds since 1970. */
  readonly nowMs: () => number;
}

/** What a provider may sign with: no shared secrets. */
const algorithms = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"];

/** Time for an answer of the provider. */
const timeoutMs = 5_000;

/** Knows an OpenID provider by its issuer URL; its keys are fetched when they are first needed, and again when they change. */
export function openIdProvider(options: OpenIdOptions): OpenIdProvider {
  const { issuer, audience, roleClaim, nowMs } = options;
  let keys: Promise<ReturnType<typeof createRemoteJWKSet>> | undefined;
  const keysOf = async () => {
    keys ??= findKeys(options);
    try {
      return await keys;
    } catch (error) {
      keys = undefined;
      throw error;
    }
  };
  return {
    issuer,
    async read(token) {
      const jwks = await keysOf();
      try {
        const { payload } = await jwtVerify(token, jwks, {
          algorithms,
          issuer,
          audience,
          currentDate: new Date(nowMs()),
          clockTolerance: 30,
          requiredClaims: ["sub", "exp"],
        });
        const { sub = "", email, email_verified: verified, name } = payload;
        if (sub === "" || sub.length > 255) return null;
        return {
          issuer,
          subject: sub,
          email: typeof email === "string" ? email : "",
          isEmailVerified: verified === true || verified === "true",
          name: typeof name === "string" ? name : "",
          groups: roleClaim === undefined ? [] : textsOf(payload[roleClaim]),
        };
      } catch (error) {
        if (isOutage(error)) throw error;
        if (error instanceof errors.JOSEError) return null;
        throw error;
      }
    },
  };
}

async function findKeys({ issuer, jwksUrl }: OpenIdOptions): Promise<ReturnType<typeof createRemoteJWKSet>> {
  const found = jwksUrl ?? (await discover(issuer));
  return createRemoteJWKSet(new URL(found), { timeoutDuration: timeoutMs, cooldownDuration: 10_000 });
}

async function discover(issuer: string): Promise<string> {
  const url = `${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`;
  const response = await fetch(url, { redirect: "error", signal: AbortSignal.timeout(timeoutMs) });
  if (!response.ok) throw new Error(`the provider answered its discovery with ${response.status}`);
  const document: unknown = await response.json();
  const uri = typeof document === "object" && document !== null ? Reflect.get(document, "jwks_uri") : null;
  // Who can answer for the provider must not send us elsewhere with anything but its own issuer.
  const said = typeof document === "object" && document !== null ? Reflect.get(document, "issuer") : null;
  if (typeof uri !== "string" || !/^https?:\/\//.test(uri) || said !== issuer) {
    throw new Error("the discovery of the provider is not that of its issuer");
  }
  return uri;
}

function isOutage(error: unknown): boolean {
  // A set of keys that could not be had says this in jose: its own class alone, or a timeout.
  return (
    error instanceof errors.JWKSTimeout ||
    (error instanceof errors.JOSEError && error.code === "ERR_JOSE_GENERIC")
  );
}

function textsOf(value: unknown): string[] {
  const listed = Array.isArray(value) ? value : [value];
  return listed.filter((one): one is string => typeof one === "string").slice(0, 1_000);
}

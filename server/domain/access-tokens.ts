import { createHash, createHmac, createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";
import { errors, jwtVerify, SignJWT } from "jose";
import { unauthenticated } from "./errors.ts";

/** What an access token says. */
export interface AccessClaims {
  readonly personId: string;
  readonly loginId: string;
  /** Where the account is. */
  readonly homeOrgId: string;
}

/** How access tokens are made. */
export interface AccessTokenOptions {
  /** What the keys derive from, newest first: the first one signs, all verify. */
  readonly secrets: readonly Uint8Array[];
  /** Who says that it made them, and believes no other. */
  readonly issuer: string;
  readonly ttlMs: number;
  /** Milliseconds since 1970. */
  readonly nowMs: () => number;
  readonly newId: () => string;
}

/** A key as the world may see it (RFC 8037). */
export interface PublicJwk {
  readonly kty: "OKP";
  readonly crv: "Ed25519";
  readonly x: string;
  readonly kid: string;
  readonly alg: "EdDSA";
  readonly use: "sig";
}

/** The one audience of access tokens. */
export const accessAudience = "muster";

/**
 * Makes and reads access tokens: JWTs signed by Ed25519, and by nothing else. The key pairs derive from the
 * coordinator's secrets, so all coordinators have the same ones and none is stored; a new secret is a new pair, and the
 * tokens under the one before are good as long as that is given.
 */
export class AccessTokens {
  readonly #options: AccessTokenOptions;
  readonly #pairs: ReadonlyMap<string, Pair>;
  readonly #present: Pair;

  constructor(options: AccessTokenOptions) {
    this.#options = options;
    const pairs = options.secrets.map(pairOf);
    const [present] = pairs;
    if (present === undefined) throw new Error("access tokens need a secret");
    this.#present = present;
    this.#pairs = new Map(pairs.map((pair) => [pair.jwk.kid, pair]));
  }

  /** A token, and when it ends. */
  async sign({
    personId,
    loginId,
    homeOrgId,
  }: AccessClaims): Promise<{ readonly token: string; readonly expiresAt: Date }> {
    const { issuer, ttlMs, nowMs, newId } = this.#options;
    const issuedS = Math.floor(nowMs() / 1_000);
    const expiresS = issuedS + Math.max(1, Math.ceil(ttlMs / 1_000));
    const token = await new SignJWT({ sid: loginId, home: homeOrgId })
      .setProtectedHeader({ alg: "EdDSA", typ: "at+jwt", kid: this.#present.jwk.kid })
      .setIssuer(issuer)
      .setAudience(accessAudience)
      .setSubject(personId)
      .setJti(newId())
      .setIssuedAt(issuedS)
      .setNotBefore(issuedS)
      .setExpirationTime(expiresS)
      .sign(this.#present.privateKey);
    return { token, expiresAt: new Date(expiresS * 1_000) };
  }

  /** What a token says; KEY_INVALID for any that is not ours, not for us, ended or not begun, whatever the reason. */
  async read(token: string): Promise<AccessClaims> {
    const { issuer, nowMs } = this.#options;
    try {
      const { payload } = await jwtVerify(token, ({ kid }) => this.#keyOf(kid), {
        algorithms: ["EdDSA"],
        typ: "at+jwt",
        issuer,
        audience: accessAudience,
        currentDate: new Date(nowMs()),
        // Coordinators whose clocks differ a little are one.
        clockTolerance: 5,
        requiredClaims: ["sub", "sid", "home", "jti", "exp", "nbf"],
      });
      const claims = [payload.sub, payload["sid"], payload["home"]];
      const [personId, loginId, homeOrgId] = claims.map((one) => (isUuid(one) ? one : undefined));
      if (personId === undefined || loginId === undefined || homeOrgId === undefined) throw unauthenticated();
      return { personId, loginId, homeOrgId };
    } catch (error) {
      if (error instanceof errors.JOSEError) throw unauthenticated();
      throw error;
    }
  }

  /** The public keys, the present one first. */
  jwks(): { readonly keys: readonly PublicJwk[] } {
    return { keys: [...this.#pairs.values()].map(({ jwk }) => jwk) };
  }

  #keyOf(kid: string | undefined): KeyObject {
    const pair = this.#pairs.get(kid ?? "");
    if (pair === undefined) throw unauthenticated();
    return pair.publicKey;
  }
}

/** Whether text may be an access token: three parts, the first a JSON object. */
export function looksLikeAccessToken(text: string): boolean {
  return text.length <= 4_096 && /^eyJ[\w-]+\.[\w-]+\.[\w-]*$/.test(text);
}

interface Pair {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  readonly jwk: PublicJwk;
}

// The beginning of every Ed25519 private key in PKCS #8; its 32 bytes follow.
const pkcs8 = Buffer.from("302e020100300506032b657004220420", "hex");

function pairOf(secret: Uint8Array): Pair {
  const seed = createHmac("sha256", secret).update("muster access tokens").digest();
  const privateKey = createPrivateKey({ key: Buffer.concat([pkcs8, seed]), format: "der", type: "pkcs8" });
  const publicKey = createPublicKey(privateKey);
  const { x = "" } = publicKey.export({ format: "jwk" });
  // The thumbprint of RFC 7638.
  const kid = createHash("sha256")
    .update(JSON.stringify({ crv: "Ed25519", kty: "OKP", x }))
    .digest("base64url");
  return { privateKey, publicKey, jwk: { kty: "OKP", crv: "Ed25519", x, kid, alg: "EdDSA", use: "sig" } };
}

function isUuid(value: unknown): value is string {
  return typeof value === "string" && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(value);
}

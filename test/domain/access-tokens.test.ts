import { generateKeyPairSync } from "node:crypto";
import { exportJWK, importJWK, type JWTPayload, jwtVerify, SignJWT, UnsecuredJWT } from "jose";
import { describe, expect, test } from "vitest";
import { AccessTokens, accessAudience } from "../../server/domain/access-tokens.ts";
import { derivePepper } from "../../server/domain/keys.ts";
import { reasonOf } from "../support/people.ts";

const nowMs = 1_800_000_000_000;
const claims = {
  personId: "018f0000-0000-7000-8000-000000000001",
  loginId: "018f0000-0000-7000-8000-000000000002",
  homeOrgId: "018f0000-0000-7000-8000-000000000003",
};

function tokensOf(secrets: readonly string[], { at = nowMs, issuer = "muster" } = {}): AccessTokens {
  let ids = 0;
  return new AccessTokens({
    secrets: secrets.map(derivePepper),
    issuer,
    ttlMs: 15 * 60_000,
    nowMs: () => at,
    newId: () => `id-${ids++}`,
  });
}

/** A token that is right in all but what is said, signed by a pair that a test knows. */
async function forged(change: {
  readonly payload?: JWTPayload;
  readonly header?: Record<string, unknown>;
  readonly without?: string;
}): Promise<string> {
  const { privateKey } = generateKeyPairSync("ed25519");
  const s = nowMs / 1_000;
  const right = { iss: "muster", aud: accessAudience, sub: claims.personId, sid: claims.loginId };
  const all = { ...right, home: claims.homeOrgId, jti: "x", nbf: s, exp: s + 60, ...change.payload };
  const payload = Object.fromEntries(Object.entries(all).filter(([name]) => name !== change.without));
  return new SignJWT(payload)
    .setProtectedHeader({ alg: "EdDSA", typ: "at+jwt", ...change.header })
    .sign(privateKey);
}

describe("access tokens of people", () => {
  test("say who, for whom, until when, and each is another", async () => {
    const tokens = tokensOf(["a"]);
    const [one, two] = [await tokens.sign(claims), await tokens.sign(claims)];
    expect(await tokens.read(one.token)).toEqual(claims);
    expect(one.expiresAt).toEqual(new Date(nowMs + 15 * 60_000));
    expect(one.token).not.toBe(two.token);
  });

  test("are verified elsewhere by the published keys, which hold nothing private", async () => {
    const tokens = tokensOf(["a", "b"]);
    const { keys } = tokens.jwks();
    expect(keys.map((key) => Object.keys(key).toSorted().join())).toEqual([
      "alg,crv,kid,kty,use,x",
      "alg,crv,kid,kty,use,x",
    ]);
    const { token } = await tokens.sign(claims);
    const [first] = keys;
    const verified = await jwtVerify(token, await importJWK({ ...first }, "EdDSA"), {
      currentDate: new Date(nowMs),
    });
    expect(verified.payload).toMatchObject({ iss: "muster", aud: "muster", sub: claims.personId });
    expect(verified.protectedHeader).toEqual({ alg: "EdDSA", typ: "at+jwt", kid: first?.kid });
  });

  test("under the secret before are good as long as it is given; all coordinators have the same keys", async () => {
    const { token } = await tokensOf(["old"]).sign(claims);
    expect(await tokensOf(["new", "old"]).read(token)).toEqual(claims);
    expect(await reasonOf(tokensOf(["new"]).read(token))).toBe("KEY_INVALID");
    expect(tokensOf(["new", "old"]).jwks().keys[1]).toEqual(tokensOf(["old"]).jwks().keys[0]);
  });

  test.each([
    ["of alg none", async () => new UnsecuredJWT({ sub: claims.personId }).encode()],
    [
      "of HS256 with the public key",
      async (tokens: AccessTokens) => {
        const [key] = tokens.jwks().keys;
        const secret = Buffer.from(key?.x ?? "", "base64url");
        return new SignJWT({ ...claims, sid: claims.loginId, home: claims.homeOrgId })
          .setProtectedHeader({ alg: "HS256", typ: "at+jwt", kid: key?.kid ?? "" })
          .setIssuer("muster")
          .setAudience(accessAudience)
          .setSubject(claims.personId)
          .setJti("x")
          .setNotBefore(nowMs / 1_000)
          .setExpirationTime(nowMs / 1_000 + 60)
          .sign(secret);
      },
    ],
    [
      "of another pair that names our key",
      async (tokens: AccessTokens) => forged({ header: { kid: tokens.jwks().keys[0]?.kid } }),
    ],
    [
      "that brings its own key",
      async () => {
        const { publicKey } = generateKeyPairSync("ed25519");
        return forged({ header: { jwk: await exportJWK(publicKey) } });
      },
    ],
    ["of an unknown key", async () => forged({ header: { kid: "other" } })],
    ["of another issuer", async () => (await tokensOf(["a"], { issuer: "elsewhere" }).sign(claims)).token],
    ["that has expired", async () => (await tokensOf(["a"], { at: nowMs - 16 * 60_000 }).sign(claims)).token],
    ["that has not begun", async () => (await tokensOf(["a"], { at: nowMs + 60_000 }).sign(claims)).token],
    [
      "with a changed claim",
      async (tokens: AccessTokens) => {
        const [header, , signature] = (await tokens.sign(claims)).token.split(".");
        const payload = Buffer.from(JSON.stringify({ sub: claims.loginId })).toString("base64url");
        return [header, payload, signature].join(".");
      },
    ],
    [
      "without its signature",
      async (tokens: AccessTokens) => (await tokens.sign(claims)).token.replace(/[^.]+$/, ""),
    ],
    ["that is no token", async () => "eyJ.a.b"],
  ] as const)("one %s is KEY_INVALID", async (_, make) => {
    const tokens = tokensOf(["a"]);
    expect(await reasonOf(tokens.read(await make(tokens)))).toBe("KEY_INVALID");
  });

  test.each(["aud", "typ", "sub", "sid", "home", "jti", "exp", "nbf"])(
    "one that is ours but wrong in %s is KEY_INVALID",
    async (claim) => {
      // Signed by the very pair: what is refused is the claim.
      const secret = derivePepper("a");
      const { createHmac, createPrivateKey } = await import("node:crypto");
      const seed = createHmac("sha256", secret).update("muster access tokens").digest();
      const der = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), seed]);
      const pair = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
      const tokens = tokensOf(["a"]);
      const s = nowMs / 1_000;
      const right: JWTPayload = {
        iss: "muster",
        aud: accessAudience,
        sub: claims.personId,
        sid: claims.loginId,
        home: claims.homeOrgId,
        jti: "x",
        nbf: s,
        exp: s + 60,
      };
      const sign = (payload: JWTPayload, typ = "at+jwt") =>
        new SignJWT(payload)
          .setProtectedHeader({ alg: "EdDSA", typ, kid: tokens.jwks().keys[0]?.kid ?? "" })
          .sign(pair);
      expect(await tokens.read(await sign(right))).toEqual(claims);
      const { [claim]: _, ...rest } = right;
      const wrong =
        claim === "typ"
          ? await sign(right, "JWT")
          : await sign(claim === "aud" ? { ...rest, aud: "other" } : rest);
      expect(await reasonOf(tokens.read(wrong))).toBe("KEY_INVALID");
    },
  );
});

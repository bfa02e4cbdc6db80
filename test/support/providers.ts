import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { exportJWK, generateKeyPair, type JWTPayload, SignJWT } from "jose";

/** A server of a test. */
interface Peer {
  readonly url: string;
  close(): Promise<void>;
}

/** An OpenID provider: discovery, keys, and tokens as a test wants them. */
export interface IssuerPeer extends Peer {
  /** A token that is right in all but what is given. */
  token(
    claims: JWTPayload,
    options?: { readonly isForged?: boolean; readonly expiresIn?: string },
  ): Promise<string>;
}

/** Starts one. */
export async function startIssuer(audience: string): Promise<IssuerPeer> {
  const [pair, other] = [await generateKeyPair("ES256"), await generateKeyPair("ES256")];
  const jwk = { ...(await exportJWK(pair.publicKey)), kid: "one", alg: "ES256" };
  const peer = await listen((request, response) => {
    if (request.url === "/.well-known/openid-configuration") {
      return json(response, { issuer: peer.url, jwks_uri: `${peer.url}/keys` });
    }
    return request.url === "/keys" ? json(response, { keys: [jwk] }) : json(response, {}, 404);
  });
  return {
    ...peer,
    token: (claims, { isForged = false, expiresIn = "5m" } = {}) =>
      new SignJWT({ iss: peer.url, aud: audience, ...claims })
        .setProtectedHeader({ alg: "ES256", kid: "one" })
        .setIssuedAt()
        .setExpirationTime(expiresIn)
        .sign(isForged ? other.privateKey : pair.privateKey),
  };
}

/** GitHub's device flow, in the shapes of its documentation. */
export interface GithubLoginPeer extends Peer {
  /** What the next questions are answered with, one each; then the token. */
  readonly answers: Record<string, unknown>[];
  user: { readonly id: number; readonly login: string };
  readonly seen: { readonly path: string; readonly body: string; readonly authorization: string }[];
}

/** The token that it hands out: it must turn up nowhere. */
export const githubUserToken = "gho_16C7e42F292c6912E7710c838347Ae178B4a";

/** Starts it. */
export async function startGithubLogin(): Promise<GithubLoginPeer> {
  const seen: GithubLoginPeer["seen"][number][] = [];
  const peer = await listen((request, response, body) => {
    seen.push({ path: request.url ?? "", body, authorization: request.headers.authorization ?? "" });
    if (request.url === "/login/device/code") {
      return json(response, {
        device_code: "3584d83530557fdd1f46af8289938c8ef79f9dc5",
        user_code: "WDJB-MJHT",
        verification_uri: "https://github.com/login/device",
        expires_in: 900,
        interval: 5,
      });
    }
    if (request.url === "/login/oauth/access_token") {
      const token = { access_token: githubUserToken, token_type: "bearer", scope: "" };
      return json(response, github.answers.shift() ?? token);
    }
    const isKnown = request.headers.authorization === `Bearer ${githubUserToken}`;
    return isKnown ? json(response, github.user) : json(response, { message: "Bad credentials" }, 401);
  });
  const github: GithubLoginPeer = { ...peer, answers: [], user: { id: 583_231, login: "octocat" }, seen };
  return github;
}

function json(response: ServerResponse, body: unknown, status = 200): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

async function listen(
  answer: (request: IncomingMessage, response: ServerResponse, body: string) => void,
): Promise<Peer> {
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(Buffer.from(chunk));
    answer(request, response, Buffer.concat(chunks).toString());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

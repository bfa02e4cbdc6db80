/** What a person enters at GitHub. */
export interface GithubCode {
  readonly deviceCode: string;
  readonly userCode: string;
  readonly verificationUri: string;
  readonly expiresInMs: number;
  readonly intervalMs: number;
}

/** What came of a code, in the words of RFC 8628. */
export type GithubAnswer =
  | { readonly state: "approved"; readonly id: string; readonly login: string }
  | { readonly state: "authorization_pending" }
  | { readonly state: "slow_down"; readonly intervalMs: number | null }
  | { readonly state: "expired_token" };

/** Who asks GitHub which account somebody has. */
export interface GithubLogin {
  /** Begins the device flow. Throws when GitHub cannot be reached or refuses. */
  start(): Promise<GithubCode>;
  /** Asks once. The token that GitHub answers with is used for one look at whose it is, and kept nowhere. */
  finish(deviceCode: string): Promise<GithubAnswer>;
}

/** Time for an answer of GitHub. */
const timeoutMs = 10_000;

/** The device flow of GitHub. No scope is asked for: the token may see what everybody sees, and whose it is. */
export function githubLogin(options: {
  readonly clientId: string;
  /** `https://github.com`. */
  readonly loginUrl: string;
  /** `https://api.github.com`. */
  readonly apiUrl: string;
}): GithubLogin {
  const { clientId, loginUrl, apiUrl } = options;
  return {
    async start() {
      const answer = await post(`${loginUrl}/login/device/code`, { client_id: clientId });
      const deviceCode = textOf(answer, "device_code");
      const userCode = textOf(answer, "user_code");
      const verificationUri = textOf(answer, "verification_uri");
      if (deviceCode === "" || userCode === "" || !/^https?:\/\//.test(verificationUri)) {
        throw new Error(`GitHub began no device flow: ${textOf(answer, "error") || "an unknown answer"}`);
      }
      const expiresInMs = numberOf(answer, "expires_in", 900) * 1_000;
      return {
        deviceCode,
        userCode,
        verificationUri,
        expiresInMs,
        intervalMs: numberOf(answer, "interval", 5) * 1_000,
      };
    },
    async finish(deviceCode) {
      const answer = await post(`${loginUrl}/login/oauth/access_token`, {
        client_id: clientId,
        device_code: deviceCode,
        grant_type: "urn:ietf:params:oauth:grant-type:device_code",
      });
      const token = textOf(answer, "access_token");
      if (token !== "") return { state: "approved", ...(await whose(apiUrl, token)) };
      const error = textOf(answer, "error");
      if (error === "authorization_pending") return { state: "authorization_pending" };
      if (error === "slow_down") {
        const seconds = numberOf(answer, "interval", 0);
        return { state: "slow_down", intervalMs: seconds > 0 ? seconds * 1_000 : null };
      }
      if (["expired_token", "access_denied", "incorrect_device_code"].includes(error)) {
        return { state: "expired_token" };
      }
      throw new Error(`GitHub refused the device flow: ${error.slice(0, 100) || "an unknown answer"}`);
    },
  };
}

async function whose(
  apiUrl: string,
  token: string,
): Promise<{ readonly id: string; readonly login: string }> {
  const response = await fetch(`${apiUrl}/user`, {
    headers: {
      authorization: `Bearer ${token}`,
      accept: "application/vnd.github+json",
      "user-agent": "muster",
    },
    redirect: "error",
    signal: AbortSignal.timeout(timeoutMs),
  });
  if (!response.ok) throw new Error(`GitHub answered /user with ${response.status}`);
  const user: unknown = await response.json();
  const id = memberOf(user, "id");
  const login = textOf(user, "login");
  if (typeof id !== "number" || !/^[\w-]{1,100}$/.test(login)) throw new Error("GitHub named no user");
  return { id: String(id), login };
}

async function post(url: string, fields: Record<string, string>): Promise<unknown> {
  const response = await fetch(url, {
    method: "POST",
    headers: { accept: "application/json", "user-agent": "muster" },
    body: new URLSearchParams(fields),
    redirect: "error",
    signal: AbortSignal.timeout(timeoutMs),
  });
  if (!response.ok) throw new Error(`GitHub answered with ${response.status}`);
  return response.json();
}

function memberOf(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined;
}

function textOf(value: unknown, name: string): string {
  const member = memberOf(value, name);
  return typeof member === "string" ? member : "";
}

function numberOf(value: unknown, name: string, otherwise: number): number {
  const member = memberOf(value, name);
  return typeof member === "number" && member > 0 && member < 86_400 ? member : otherwise;
}

import { Code, ConnectError } from "@connectrpc/connect";
import { githubIssuesPayload, readPayload } from "../domain/built-in-kinds.ts";
import type { KindContext, KindParts } from "./context.ts";
import { type Github, GithubLimited, GithubRefused } from "./github.ts";

/** What the handler works with. */
export interface IssuesParts extends KindParts {
  readonly github: Pick<Github, "labelledIssues">;
}

/** What a `github.issues` job came to. */
export interface IssuesResult {
  readonly issues: number;
  /** Jobs that were made. */
  readonly submitted: number;
  /** Issues that had theirs already. */
  readonly known: number;
}

/**
 * The built-in kind `github.issues`, payload `{ "repository": "acme/web", "label": string, "kind": string, "queue"?,
 * "project"?, "skills"? }`: each open issue with the label becomes a job, once: its URL is the job's external id.
 * What an issue says was written by anybody: the job's payload says so (`"untrusted": true`), and holds it apart from
 * all that the schedule's author wrote. When GitHub's rate is spent the job parks until it takes calls again.
 */
export function githubIssues(parts: IssuesParts): (ctx: KindContext) => Promise<IssuesResult> {
  return async (ctx) => {
    const asked = readPayload("github.issues", githubIssuesPayload, ctx.payload, parts.failure);
    const [owner = "", repo = ""] = asked.repository.split("/");
    const counts = { issues: 0, submitted: 0, known: 0 };
    try {
      const issues = await parts.github.labelledIssues({ owner, repo }, asked.label, ctx.signal);
      if (issues === null) {
        throw parts.failure(`GitHub does not show ${asked.repository}`, "REPOSITORY_NOT_FOUND");
      }
      for (const issue of issues) {
        ctx.progress(counts.issues / issues.length, `#${issue.number}`);
        counts.issues++;
        const { url, number, title, body, labels, author } = issue;
        const job = {
          kind: asked.kind,
          title: `${asked.repository}#${number} ${title}`.slice(0, titleMax),
          externalId: url,
          labels: { "github.repository": asked.repository, "github.issue": String(number) },
          payload: {
            ...asked.payload,
            issue: {
              untrusted: true,
              url,
              number,
              repository: asked.repository,
              title,
              body,
              labels,
              author,
            },
          },
          ...(asked.queue === undefined ? {} : { queue: asked.queue }),
          ...(asked.project === undefined ? {} : { project: asked.project }),
          ...(asked.skills === undefined ? {} : { requiredSkills: asked.skills }),
        };
        if (await submitOnce(ctx, job, url)) counts.submitted++;
        else counts.known++;
      }
    } catch (error) {
      ctx.signal.throwIfAborted();
      if (error instanceof GithubLimited) {
        ctx.park({ reason: "the rate of GitHub is spent", wakeAfterMs: error.waitMs });
      }
      if (error instanceof GithubRefused) throw parts.failure(error.message, "GITHUB_TOKEN_INVALID");
      throw error;
    }
    return counts;
  };
}

const titleMax = 200;

// An issue that was edited since is another request under the same names: it has its job.
async function submitOnce(
  ctx: KindContext,
  job: Parameters<KindContext["submit"]>[0],
  url: string,
): Promise<boolean> {
  try {
    const { replayed } = await ctx.submit(job, { idempotencyKey: `github.issues ${url}` });
    return !replayed;
  } catch (error) {
    if (ConnectError.from(error).code === Code.AlreadyExists) return false;
    throw error;
  }
}

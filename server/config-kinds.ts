import { baseUrl, besideDataDir, type Field, field, toggle, tokenText } from "./config-forms.ts";
import { optionalUrl } from "./config-texts.ts";
import { invalid, type Reading, shown, valid } from "./config-values.ts";

/** The settings of the kinds that are built in. */
export const kindsFields = {
  kinds: toggle("kinds", true, "Whether a worker of the coordinator's own runs the built-in kinds."),
  githubApiUrl: baseUrl(
    "github-api-url",
    "https://api.github.com",
    "REST API of the GitHub that github.sync and github.issues ask; of a server of your own https://HOST/api/v3.",
  ),
  githubToken: tokenText("github-token", "Token that github.sync and github.issues read with."),
  githubTokenOrgs: orgNames(
    "github-token-orgs",
    "Orgs beside default that read with that token, too; the others read what is public.",
  ),
  backupPlace: {
    ...besideDataDir(
      "backup-place",
      "Where backups are kept: a directory, or s3://bucket/prefix.",
      "backups",
    ),
    read: (raw: unknown) =>
      typeof raw === "string" && placeForm.test(raw)
        ? valid(raw)
        : invalid(`is neither a directory nor s3://bucket/prefix: ${shown(raw)}`),
  },
  backupEndpoint: optionalUrl("backup-endpoint", "Address of an S3 that is not Amazon's, for backups."),
  backupRegion: field("backup-region", "text", "Region of the S3 of backups.", "us-east-1", (raw) =>
    typeof raw === "string" && /^[a-z0-9-]{1,60}$/.test(raw)
      ? valid(raw)
      : invalid(`is not the name of a region: ${shown(raw)}`),
  ),
};

function orgNames(key: string, description: string): Field<readonly string[]> {
  const read = (raw: unknown): Reading<readonly string[]> => {
    const listed: unknown[] = Array.isArray(raw) ? raw : String(raw).split(",");
    const names = listed.map((one) => String(one).trim()).filter((one) => one !== "");
    const wrong = names.find((name) => !/^[a-z0-9-]{1,60}$/.test(name));
    return wrong === undefined
      ? valid(names)
      : invalid(`has an entry that is no name of an org: ${shown(wrong)}`);
  };
  return { ...field(key, "org,…", description, "", read), fallbackText: "none" };
}

// Of a bucket what S3 allows; any other text that is not a URL is a directory.
const placeForm =
  /^(s3:\/\/[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](\/[\w.\-/]{0,200})?|(?![a-z][a-z0-9+.-]*:\/\/)[^\0]+)$/;

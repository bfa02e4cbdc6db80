import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { type AlertChannel, AlertChannelSchema, AlertService } from "@muster/client/v1/alert_service";
import type { FormField, FormValues } from "../overlays/form.ts";
import { secretOverlay } from "../overlays/secret.ts";
import { commandLine, shellWord } from "../shell/command-line.ts";
import type { ActCall, Shell } from "../shell/screen.ts";
import { enteredText, namesOf, refuseChanged, refuseTaken } from "./form-values.ts";
import { askSave } from "./save-form.ts";

/** What a channel may be. */
export type ChannelType = NonNullable<AlertChannel["target"]["case"]>;

/** The types, in the order of the menu. */
export const channelTypes: readonly ChannelType[] = ["slack", "discord", "email", "webhook"];

/** Opens the form of a new channel of a type, or of one that is there. Its secrets are typed hidden, and stay when left empty. */
export function openChannel(shell: Shell, of: ChannelType | AlertChannel): void {
  const client = shell.client(AlertService);
  const channel = typeof of === "string" ? undefined : of;
  const type = typeof of === "string" ? of : of.target.case;
  if (type === undefined) {
    return shell.say({
      text: "this console does not know its type: muster rpc can change it",
      kind: "warning",
    });
  }
  const before = fieldsOf(type, channel);
  askSave(shell, {
    title: channel === undefined ? `Create a channel: ${type}` : `Edit ${channel.name}: ${type}`,
    question: (values) =>
      channel === undefined ? `Create ${enteredText(values, "name")}?` : `Save ${channel.name}?`,
    isNew: channel === undefined,
    fields: before,
    command: (values) => lineOf(type, channel, values),
    check: async (values, options) => {
      const asked = messageOf(type, channel, values);
      const now = await nowOf(shell, asked.name, options);
      if (channel === undefined) refuseTaken(now !== undefined, asked.name);
      else refuseChanged(channel.updateTime, now?.updateTime);
      return client.putAlertChannel({ channel: asked, dryRun: true }, options);
    },
    save: (values, options, reason) =>
      client.putAlertChannel({ channel: messageOf(type, channel, values), reason }, options),
    done: ({ channel: saved }) => `saved ${saved?.name ?? ""}: t tests it`,
    after: ({ channel: saved, secret }) => {
      shell.restart();
      if (secret === "") return;
      const title = `The secret of ${saved?.name ?? ""}`;
      shell.open((close) => secretOverlay(title, secret, (text) => shell.copy(text, "the secret"), close));
    },
  });
}

// What there is of that name now, if there is.
async function nowOf(
  shell: Shell,
  name: string,
  options: ActCall["options"],
): Promise<AlertChannel | undefined> {
  try {
    return (await shell.client(AlertService).getAlertChannel({ name }, options)).channel;
  } catch (error) {
    // A name that cannot be is refused at its field, with all else.
    const { code } = ConnectError.from(error);
    if (code === Code.NotFound || code === Code.InvalidArgument) return undefined;
    throw error;
  }
}

function fieldsOf(type: ChannelType, channel: AlertChannel | undefined): FormField[] {
  const isNew = channel === undefined;
  const hint = channel === undefined || channel.secretHint === "" ? "" : ` (…${channel.secretHint})`;
  const secret = (name: string, label: string, about: string, whenNew: string): FormField => ({
    name: `${type}.${name}`,
    label,
    value: "",
    about: `${about}; ${isNew ? whenNew : `empty: it stays as it is${hint}`}`,
    isHidden: true,
  });
  const open = (name: string, label: string, value: string, about: string): FormField => ({
    name: `${type}.${name}`,
    label,
    value,
    about,
  });
  const target = channel?.target;
  const name = { name: "name", label: "Name", value: "", about: "1 to 100 characters of a-z 0-9 . _ -" };
  const own = (): FormField[] => {
    switch (type) {
      case "slack":
        return [
          secret("webhookUrl", "Webhook", "https://hooks.slack.com/services/…", "or a bot's token below"),
          secret("botToken", "Bot's token", "xoxb-…, with the scope chat:write", "or a webhook above"),
          open(
            "channel",
            "Channel",
            target?.case === "slack" ? target.value.channel : "",
            "with a bot: the id of the channel, or #name",
          ),
        ];
      case "discord":
        return [secret("webhookUrl", "Webhook", "https://discord.com/api/webhooks/…", "is needed")];
      case "email":
        return [
          open(
            "to",
            "To",
            target?.case === "email" ? target.value.to.join(" ") : "",
            "1 to 20 addresses with blanks between",
          ),
        ];
      case "webhook":
        return [
          open(
            "url",
            "URL",
            target?.case === "webhook" ? target.value.url : "",
            "https, of a public host; it is posted JSON",
          ),
          secret("secret", "Secret", "whsec_…, that it is signed with", "empty: one is made, and shown once"),
        ];
    }
  };
  return [...(isNew ? [name] : []), ...own()];
}

function messageOf(type: ChannelType, channel: AlertChannel | undefined, values: FormValues): AlertChannel {
  return create(AlertChannelSchema, {
    name: channel?.name ?? enteredText(values, "name"),
    disabled: channel?.disabled ?? false,
    target: targetOf(type, channel, values),
  });
}

function targetOf(
  type: ChannelType,
  channel: AlertChannel | undefined,
  values: FormValues,
): NonNullable<MessageInitShape<typeof AlertChannelSchema>["target"]> {
  const text = (name: string): string => enteredText(values, `${type}.${name}`);
  switch (type) {
    case "slack": {
      const [webhookUrl, botToken] = [text("webhookUrl"), text("botToken")];
      // Where Slack's methods are has no field: it stays.
      const apiUrl = channel?.target.case === "slack" ? channel.target.value.apiUrl : "";
      return { case: type, value: { webhookUrl, botToken, channel: text("channel"), apiUrl } };
    }
    case "discord":
      return { case: type, value: { webhookUrl: text("webhookUrl") } };
    case "email":
      return { case: type, value: { to: namesOf(text("to")) } };
    case "webhook":
      return { case: type, value: { url: text("url"), secret: text("secret") } };
  }
}

// Secrets come from files there: - is what is typed.
function lineOf(type: ChannelType, channel: AlertChannel | undefined, values: FormValues): string {
  const text = (name: string): string => enteredText(values, `${type}.${name}`);
  const secret = (flag: string, name: string): string => (text(name) === "" ? "" : `${flag} -`);
  return commandLine(
    ...["channel create", shellWord(channel?.name ?? enteredText(values, "name")), type],
    secret("--url-file", "webhookUrl"),
    secret("--token-file", "botToken"),
    ["--channel", text("channel")],
    ["--to", namesOf(text("to")).join(",")],
    ["--url", text("url")],
    secret("--secret-file", "secret"),
  );
}

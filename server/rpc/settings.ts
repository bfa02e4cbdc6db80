import type { ServiceImpl } from "@connectrpc/connect";
import type { SettingsScope as ScopeMessage, SettingsService } from "@muster/client/v1/settings_service";
import { getSettings, putSettings, type SettingsScope } from "../domain/settings.ts";
import { callerOf } from "./auth.ts";
import { readSettings, writeSettings } from "./job-specs.ts";
import { type Problems, refuseProblems, required } from "./messages.ts";
import type { ApiParts } from "./parts.ts";

/** `muster.v1.SettingsService`. */
export function settingsService({
  coordinator,
  settings: cache,
}: ApiParts): ServiceImpl<typeof SettingsService> {
  const c = { ...coordinator, settings: cache };
  return {
    async getSettings(request, context) {
      const problems: Problems = [];
      const scope = readScope(problems, request.scope);
      refuseProblems(problems);
      return { settings: writeSettings(await getSettings(c, callerOf(context), scope)) };
    },

    async putSettings(request, context) {
      const problems: Problems = [];
      const scope = readScope(problems, request.scope);
      // Nothing given is a mistake; to inherit everything is said by an empty message.
      const given = required(problems, "settings", request.settings)
        ? readSettings(problems, "settings", request.settings)
        : {};
      refuseProblems(problems);
      return { settings: writeSettings(await putSettings(c, callerOf(context), scope, given)) };
    },
  };
}

function readScope(problems: Problems, message: ScopeMessage | undefined): SettingsScope {
  const scope = message?.scope;
  switch (scope?.case) {
    case "queue":
    case "kind":
      return { scope: scope.case, name: scope.value };
    case "org":
      if (!scope.value) problems.push({ field: "scope.org", message: "must be true, or left out" });
      return { scope: "org" };
    case undefined:
      problems.push({ field: "scope", message: "must have one of org, queue and kind" });
      return { scope: "org" };
  }
}

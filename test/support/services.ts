import { glob } from "node:fs/promises";
import type { DescService } from "@bufbuild/protobuf";
import { hasOption } from "@bufbuild/protobuf";
import { access } from "@muster/client/v1/access";

/** Every service of the API, from what is generated of the proto, by name. */
export async function apiServices(): Promise<readonly DescService[]> {
  const folder = new URL("../../gen/src/muster/v1/", import.meta.url).pathname;
  const services: DescService[] = [];
  for await (const file of glob(`${folder}*_service_pb.js`)) {
    const module: Record<string, unknown> = await import(file);
    services.push(...Object.values(module).filter(isService));
  }
  return services.toSorted((a, b) => (a.typeName < b.typeName ? -1 : 1));
}

/** The methods for which the proto lays down no access, as `service/method`. */
export function methodsWithoutAccess(services: readonly DescService[]): string[] {
  return services.flatMap(({ typeName, methods }) =>
    methods.filter((method) => !hasOption(method, access)).map(({ name }) => `${typeName}/${name}`),
  );
}

function isService(value: unknown): value is DescService {
  return typeof value === "object" && value !== null && "kind" in value && value.kind === "service";
}

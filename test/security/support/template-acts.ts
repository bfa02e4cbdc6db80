import type { DescService } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import { TemplateService } from "@muster/client/v1/template_service";

/** Does everything that changes templates, each as an act of its own. */
export async function actOnTemplates(
  of: <T extends DescService>(service: T) => Client<T>,
  act: <T>(method: string, call: () => Promise<T>) => Promise<T>,
): Promise<void> {
  const templates = of(TemplateService);
  const name = "greet";
  await act("TemplateService.PutTemplate", () =>
    templates.putTemplate({ template: { name, job: { kind: "nobody" } } }),
  );
  await act("TemplateService.RunTemplate", () => templates.runTemplate({ name }));
  await act("TemplateService.RateTemplate", () => templates.rateTemplate({ name, stars: 4, note: "good" }));
  await act("TemplateService.DeleteTemplate", () => templates.deleteTemplate({ name }));
}

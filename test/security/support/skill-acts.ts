import type { DescService } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import { SkillService } from "@muster/client/v1/skill_service";

/** Does everything that changes documents of skills, each as an act of its own. */
export async function actOnSkills(
  of: <T extends DescService>(service: T) => Client<T>,
  act: <T>(method: string, call: () => Promise<T>) => Promise<T>,
): Promise<void> {
  const skills = of(SkillService);
  const name = "review";
  await act("SkillService.PutSkill", () => skills.putSkill({ skill: { name, body: "# Review" } }));
  await act("SkillService.DeleteSkill", () => skills.deleteSkill({ name }));
}

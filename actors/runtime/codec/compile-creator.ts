import type { DescField, DescMessage } from "@bufbuild/protobuf";
import { ABSENT, isPlain, methodName, zeroSource } from "./wire.ts";

/** Makes a message of what a caller gives of it. */
export type Creator = (init: never) => unknown;

/**
 * Source of the body of a creator: a function of `i` that may call the creators of other messages. Undefined if the
 * message has features that we do not use.
 */
export function creatorSource(schema: DescMessage): string | undefined {
  const always: string[] = [`$typeName: "${schema.typeName}"`];
  const whenGiven: string[] = [];
  for (const member of schema.members) {
    if (member.kind === "oneof") {
      const source = oneofSource(member.localName, member.fields);
      if (source === undefined) return undefined;
      always.push(source);
      continue;
    }
    const zero = isPlain(member) ? zeroSource(member) : undefined;
    if (zero === undefined) return undefined;
    const { localName: name } = member;
    if (zero !== ABSENT)
      always.push(`${name}: i.${name} == null ? ${zero} : ${converted(member, `i.${name}`)}`);
    else whenGiven.push(`if (i.${name} != null) m.${name} = ${converted(member, `i.${name}`)};`);
  }
  const asItIs = `if (i.$typeName === "${schema.typeName}") return i;`;
  return `${asItIs}\nconst m = { ${always.join(",\n")} };\n${whenGiven.join("\n")}\nreturn m;`;
}

function converted(field: DescField, value: string): string {
  if (field.message === undefined) return value;
  const creator = methodName(field.message);
  if (field.fieldKind === "list") return `${value}.map(${creator})`;
  if (field.fieldKind !== "map") return `${creator}(${value})`;
  return `Object.fromEntries(Object.entries(${value}).map(([k, v]) => [k, ${creator}(v)]))`;
}

function oneofSource(name: string, fields: readonly DescField[]): string | undefined {
  if (!fields.every(isPlain)) return undefined;
  const cases = fields.map((field) => {
    const value = converted(field, `i.${name}.value`);
    return `i.${name}.case === "${field.localName}" ? { case: "${field.localName}", value: ${value} }`;
  });
  return `${name}: i.${name} == null ? { case: undefined } : ${cases.join(" : ")} : { case: undefined }`;
}

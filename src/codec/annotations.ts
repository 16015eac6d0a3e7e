import { type DescEnum, type DescField, type DescMessage, type DescOneof, getOption } from "@bufbuild/protobuf";
import {
  type FieldJson,
  field as fieldOption,
  json_aliases as jsonAliasesOption,
  json_value as jsonValueOption,
  type OneofJson,
  OneofJson_Style,
  oneof as oneofOption,
} from "../../gen/loqui/rest/v1/annotations_pb.ts";

/** How a field looks in JSON. `getOption` decodes on each call: ask once, when compiling. */
export function fieldJson(field: DescField): FieldJson {
  return getOption(field, fieldOption);
}

export type OneofStyle = "separate" | "untagged" | "inline" | "adjacent";

/** How a oneof looks in JSON; `separate` is ProtoJSON's way, a JSON member for each. */
export function oneofJson(oneof: DescOneof): OneofJson & { readonly styleName: OneofStyle } {
  const options = getOption(oneof, oneofOption);
  return { ...options, styleName: styleName(oneof, options.style) };
}

function styleName(oneof: DescOneof, style: OneofJson_Style): OneofStyle {
  switch (style) {
    case OneofJson_Style.UNSPECIFIED:
      return "separate";
    case OneofJson_Style.UNTAGGED:
      return "untagged";
    case OneofJson_Style.TAGGED_INLINE:
      return "inline";
    case OneofJson_Style.TAGGED_ADJACENT:
      return "adjacent";
    default:
      throw new SchemaError(oneof, `unknown style ${style}`);
  }
}

/** The JSON strings of an enum, both ways, in the order of declaration; by name the aliases too. */
export interface EnumTable {
  readonly desc: DescEnum;
  readonly byName: ReadonlyMap<string, number>;
  readonly byNumber: ReadonlyMap<number, string>;
}

const enumTables = new WeakMap<DescEnum, EnumTable>();

/** The table of an enum's `json_value`s and `json_aliases`. Throws {@link SchemaError} where two values share a string. */
export function enumTable(desc: DescEnum): EnumTable {
  const known = enumTables.get(desc);
  if (known !== undefined) return known;
  const byName = new Map<string, number>();
  const byNumber = new Map<number, string>();
  for (const value of desc.values) {
    const name = getOption(value, jsonValueOption);
    const aliases = getOption(value, jsonAliasesOption);
    for (const one of name === "" ? aliases : [name, ...aliases]) {
      if (byName.has(one)) throw new SchemaError(desc, `json_value "${one}" stands for two values`);
      byName.set(one, value.number);
    }
    if (name !== "" && !byNumber.has(value.number)) byNumber.set(value.number, name);
  }
  const table = { desc, byName, byNumber };
  enumTables.set(desc, table);
  return table;
}

/** The schema contradicts itself. Thrown when a codec is compiled, at boot; never by a request. */
export class SchemaError extends Error {
  override readonly name = "SchemaError";

  constructor(at: DescField | DescOneof | DescMessage | DescEnum, message: string) {
    super(`${descName(at)}: ${message}`);
  }
}

/** The fully-qualified name, as it keys comments too. */
export function descName(desc: DescField | DescOneof | DescMessage | DescEnum): string {
  return "typeName" in desc ? desc.typeName : `${desc.parent.typeName}.${desc.name}`;
}

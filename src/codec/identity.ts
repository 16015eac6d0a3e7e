import { type DescField, type DescMessage, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import { CacheKey } from "../../gen/loqui/rest/v1/annotations_pb.ts";
import { fieldJson } from "./annotations.ts";

const keptFields = new WeakMap<DescMessage, readonly DescField[]>();

/** The fields that tell one message from another: all but those marked `cache_key: EXCLUDE`. */
function keptFieldsOf(desc: DescMessage): readonly DescField[] {
  const known = keptFields.get(desc);
  if (known !== undefined) return known;
  const kept = desc.fields.filter((field) => fieldJson(field).cacheKey !== CacheKey.EXCLUDE);
  keptFields.set(desc, kept);
  return kept;
}

/**
 * The identity of a request: deterministic Protobuf (fields in order, maps
 * sorted) without the fields that change nothing in the answer and those that
 * the schema doesn't have. Equal bytes of one type are equal requests. Costs
 * about as much as encoding it three times.
 */
export function identityOf<D extends DescMessage>(desc: D, message: MessageShape<D>): Uint8Array {
  return toBinary(desc, kept(reflect(desc, message, false)).message as MessageShape<D>, { writeUnknownFields: false });
}

function kept(source: ReflectMessage): ReflectMessage {
  const target = reflect(source.desc, undefined, false);
  for (const field of keptFieldsOf(source.desc)) {
    if (!source.isSet(field)) continue;
    switch (field.fieldKind) {
      case "message":
        target.set(field, kept(source.get(field)));
        break;
      case "list": {
        const list = target.get(field);
        for (const item of source.get(field)) {
          list.add(field.listKind === "message" ? kept(item as ReflectMessage) : item);
        }
        break;
      }
      case "map": {
        const map = target.get(field);
        const entries = [...(source.get(field) as Iterable<[string | number | bigint | boolean, unknown]>)];
        for (const [key, value] of entries.sort(([a], [b]) => (a < b ? -1 : 1))) {
          map.set(key, field.mapKind === "message" ? kept(value as ReflectMessage) : value);
        }
        break;
      }
      case "scalar":
      case "enum":
        target.set(field, source.get(field));
        break;
      default:
        field satisfies never;
    }
  }
  return target;
}

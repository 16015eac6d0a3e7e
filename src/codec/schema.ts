import type { DescMessage } from "@bufbuild/protobuf";
import type { FieldRules } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { descName } from "./annotations.ts";
import type { JsonSchema } from "./json-schema.ts";
import { type FieldPlan, type MemberPlan, type MessagePlan, planOf, type TaggedPlan, type ValuePlan } from "./plan.ts";
import { inlinePlan, isEmpty } from "./plan-checks.ts";
import { fieldRules, isOneofRequired, isRequired, listKeywords, mapKeywords, valueKeywords } from "./schema-rules.ts";

/** What is read and what is printed differ: aliases, nulls, rules on one side, members always there on the other. */
export type Direction = "request" | "response";

/** What a schema is made with. */
interface SchemaContext {
  readonly direction: Direction;
  readonly comments: ReadonlyMap<string, string>;
  /** Told of each message that is referred to. */
  readonly refer: (plan: MessagePlan) => void;
  /** Flattened messages that are being written in place: one inside of itself needs a name. */
  readonly inPlace: ReadonlySet<MessagePlan>;
}

/**
 * The schemas of these messages and of all that they reach, by component name
 * ({@link componentName}). Flattened wrappers have no component but where they
 * are asked for themselves. `comments` maps fully-qualified names to descriptions.
 * The rules of protovalidate stand in those of requests.
 */
export function componentSchemas(
  descs: Iterable<DescMessage>,
  direction: Direction,
  comments: ReadonlyMap<string, string> = new Map(),
): Record<string, JsonSchema> {
  const schemas = new Map<string, JsonSchema>();
  const queue = [...descs].map(planOf);
  const seen = new Set(queue);
  const refer = (plan: MessagePlan) => {
    if (seen.has(plan)) return;
    seen.add(plan);
    queue.push(plan);
  };
  for (const plan of queue) {
    const name = componentName(plan.desc, direction);
    if (schemas.has(name)) throw new Error(`two messages have the JSON Schema ${name}`);
    schemas.set(name, messageSchema(plan, { direction, comments, refer, inPlace: new Set() }));
  }
  return Object.fromEntries(schemas);
}

/** The component of a message: its name, with the suffix `Input` where it is read. */
export function componentName(desc: DescMessage, direction: Direction): string {
  const name = desc.typeName.slice(desc.file.proto.package.length).replace(/^\./, "");
  return direction === "request" ? `${name}Input` : name;
}

/** What `encode` prints for a message, nested messages by reference. */
export function responseSchema(plan: MessagePlan): JsonSchema {
  return messageSchema(plan, { direction: "response", comments: new Map(), refer: () => {}, inPlace: new Set() });
}

function messageSchema(plan: MessagePlan, context: SchemaContext): JsonSchema {
  const description = context.comments.get(plan.desc.typeName);
  return { ...(description !== undefined && { description }), ...shapeSchema(plan, context) };
}

const rawBytes: JsonSchema = { type: "string", contentMediaType: "application/octet-stream" };

function shapeSchema(plan: MessagePlan, context: SchemaContext): JsonSchema {
  const { shape } = plan;
  switch (shape.kind) {
    case "http_body":
      return rawBytes;
    case "flat": {
      const schema = fieldSchema(shape.field, { ...context, inPlace: new Set([...context.inPlace, plan]) });
      return shape.field.presence ? nullable(schema) : schema;
    }
    case "union":
      return unionSchema(shape.union.alternatives, context);
    case "object":
      return objectSchema(shape.members, context);
  }
}

function unionSchema(alternatives: readonly FieldPlan[], context: SchemaContext): JsonSchema {
  const json = alternatives.filter(({ value }) => value.kind !== "message" || value.message.shape.kind !== "http_body");
  const schemas = json.map((field) => withDescription(fieldSchema(field, context), descriptionOf(field, context)));
  const [only = rawBytes] = schemas;
  return schemas.length > 1 ? { anyOf: schemas } : only;
}

function objectSchema(members: readonly MemberPlan[], context: SchemaContext): JsonSchema {
  const request = context.direction === "request";
  const properties = new Map<string, JsonSchema>();
  const required: string[] = [];
  const conditions: JsonSchema[] = [];
  let tagged: TaggedPlan | undefined;
  let open = false;
  for (const member of members) {
    switch (member.kind) {
      case "field": {
        const { field } = member;
        const needed = request ? isRequired(field.desc) : field.emitEmpty || field.nullWhenAbsent;
        addField(properties, field, request ? needed : !field.nullWhenAbsent, context);
        if (needed && (!request || field.aliases.length === 0)) required.push(field.name);
        else if (needed) conditions.push(anyRequired([field.name, ...field.aliases]));
        break;
      }
      case "untagged": {
        const needed = request && isOneofRequired(member.desc);
        const schema = unionSchema(member.alternatives, context);
        const description = context.comments.get(descName(member.desc));
        properties.set(member.name, withDescription(request && !needed ? nullable(schema) : schema, description));
        if (needed) required.push(member.name);
        break;
      }
      case "tagged":
        tagged = member;
        break;
      case "rest":
        open = true;
        break;
    }
  }
  if (request) conditions.push(...separateOneofs(members));
  const alternatives = tagged === undefined ? undefined : taggedSchemas(tagged, members.length > 1, context);
  return {
    type: "object",
    ...(properties.size > 0 && { properties: Object.fromEntries(properties) }),
    ...(required.length > 0 && { required }),
    ...(open && { additionalProperties: true }),
    ...(alternatives !== undefined && { oneOf: alternatives }),
    ...(conditions.length > 0 && { allOf: conditions }),
  };
}

function addField(
  properties: Map<string, JsonSchema>,
  field: FieldPlan,
  neverNull: boolean,
  context: SchemaContext,
): void {
  const schema = fieldSchema(field, context);
  const value = neverNull ? schema : nullable(schema);
  const noted = { ...value, ...(field.desc.deprecated && { deprecated: true }) };
  properties.set(field.name, withDescription(noted, descriptionOf(field, context)));
  if (context.direction === "response" && !field.emitAliases) return;
  for (const alias of field.aliases) properties.set(alias, withDescription(noted, `The same as \`${field.name}\`.`));
}

/** The required oneofs that have a JSON member for each of theirs. */
function separateOneofs(members: readonly MemberPlan[]): JsonSchema[] {
  const names = new Map<string, string[]>();
  for (const member of members) {
    const desc = member.kind === "field" ? member.field.desc : undefined;
    const oneof = desc !== undefined && "oneof" in desc ? desc.oneof : undefined;
    if (desc === undefined || oneof === undefined || !isOneofRequired(oneof)) continue;
    const aliases = member.kind === "field" ? member.field.aliases : [];
    names.set(oneof.name, [...(names.get(oneof.name) ?? []), desc.name, ...aliases]);
  }
  return [...names.values()].map(anyRequired);
}

function anyRequired(names: readonly string[]): JsonSchema {
  // The properties say nothing new: strict validators want a required name declared beside.
  return { anyOf: names.map((name) => ({ properties: { [name]: {} }, required: [name] })) };
}

/** `amongOthers`: the object has other members, and may do without the oneof. */
function taggedSchemas(plan: TaggedPlan, amongOthers: boolean, context: SchemaContext): JsonSchema[] {
  const schemas = [...plan.alternatives].map(([tag, field]): JsonSchema => {
    const implied = context.direction === "request" && plan.defaultTag === tag;
    const tagSchema = { [plan.tag]: { const: tag } };
    const required = implied ? {} : { required: [plan.tag] };
    const description = descriptionOf(field, context);
    if (isEmpty(field)) return withDescription({ properties: tagSchema, ...required }, description);
    if (plan.style === "inline") {
      const inner = inlinePlan(field);
      context.refer(inner);
      const ref = { $ref: `#/components/schemas/${componentName(inner.desc, context.direction)}` };
      return withDescription({ allOf: [ref, { type: "object", properties: tagSchema, ...required }] }, description);
    }
    const properties = { ...tagSchema, [field.name]: withDescription(fieldSchema(field, context), description) };
    if (implied && !isOneofRequired(plan.desc)) return { properties };
    return { properties, required: [...(required.required ?? []), field.name] };
  });
  const absent = context.direction === "response" && amongOthers && !isOneofRequired(plan.desc);
  return absent ? [...schemas, { not: { properties: { [plan.tag]: {} }, required: [plan.tag] } }] : schemas;
}

function fieldSchema(field: FieldPlan, context: SchemaContext): JsonSchema {
  const rules = context.direction === "request" ? fieldRules(field.desc) : undefined;
  if (field.cardinality === "one") {
    const filled = rules?.required === true && !field.presence && field.value.kind === "string" ? { minLength: 1 } : {};
    return { ...filled, ...bounded(field.value, rules, context) };
  }
  const { type } = rules ?? {};
  if (field.cardinality === "map") {
    return {
      type: "object",
      additionalProperties: bounded(field.value, type?.case === "map" ? type.value.values : undefined, context),
      ...(field.key?.kind === "int" || field.key?.kind === "long" ? { propertyNames: { pattern: "^-?[0-9]+$" } } : {}),
      ...(rules !== undefined && mapKeywords(rules)),
    };
  }
  const items = bounded(field.value, type?.case === "repeated" ? type.value.items : undefined, context);
  const list: JsonSchema = { type: "array", items, ...(rules !== undefined && listKeywords(rules)) };
  return field.oneOrList ? { anyOf: [items, list] } : list;
}

/** A value within its type's bounds and its rules'. */
function bounded(plan: ValuePlan, rules: FieldRules | undefined, context: SchemaContext): JsonSchema {
  const keywords = valueKeywords(plan, rules);
  const schema = valueSchema(plan, context);
  if (keywords.exclusiveMinimum !== undefined) delete schema.minimum;
  if (keywords.exclusiveMaximum !== undefined) delete schema.maximum;
  return { ...schema, ...keywords };
}

function valueSchema(plan: ValuePlan, context: SchemaContext): JsonSchema {
  switch (plan.kind) {
    case "string":
      return { type: "string" };
    case "bool":
      return { type: "boolean" };
    case "float":
      return { type: "number" };
    case "int":
      return { type: "integer", minimum: plan.min, maximum: plan.max };
    case "long": {
      const pattern = "^-?[0-9]+$";
      if (context.direction === "request") return { type: ["integer", "string"], pattern };
      return plan.asNumber ? { type: "integer" } : { type: "string", pattern };
    }
    case "bytes":
      return { type: "string", contentEncoding: "base64" };
    case "raw":
      return {};
    case "enum":
      return { type: "string", enum: [...plan.table.byName.keys()] };
    case "message": {
      const { message } = plan;
      if (message.shape.kind === "flat" && !context.inPlace.has(message)) return shapeSchema(message, context);
      context.refer(message);
      return { $ref: `#/components/schemas/${componentName(message.desc, context.direction)}` };
    }
  }
}

/** The same or null. */
function nullable(schema: JsonSchema): JsonSchema {
  const { type, anyOf } = schema;
  if (type === undefined && anyOf === undefined && schema.$ref === undefined) return schema;
  if (type === undefined || schema.const !== undefined) {
    const keep = anyOf !== undefined && Object.keys(schema).length === 1 ? anyOf : [schema];
    return { anyOf: [...keep, { type: "null" }] };
  }
  const types = Array.isArray(type) ? type : [type];
  if (types.includes("null")) return schema;
  return { ...schema, type: [...types, "null"], ...(schema.enum !== undefined && { enum: [...schema.enum, null] }) };
}

/** A field's comment; for an enum with what each of its values means. */
function descriptionOf({ desc, value }: FieldPlan, { comments }: SchemaContext): string | undefined {
  const comment = comments.get(descName(desc));
  if (value.kind !== "enum") return comment;
  const values = [...value.table.byName].flatMap(([name, number]) => {
    const valueDesc = value.table.desc.value[number];
    const meaning = comments.get(`${value.table.desc.typeName}.${valueDesc?.name}`);
    return meaning === undefined ? [] : [`- \`${name}\`: ${meaning.replace(/\s+/g, " ")}`];
  });
  return values.length === 0 ? comment : [comment, values.join("\n")].filter(Boolean).join("\n\n");
}

function withDescription(schema: JsonSchema, description: string | undefined): JsonSchema {
  if (description === undefined) return schema;
  const { description: _, ...rest } = schema;
  return { description, ...rest };
}

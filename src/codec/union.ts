import type { DescOneof } from "@bufbuild/protobuf";
import { SchemaError } from "./annotations.ts";
import type { FieldPlan, ValuePlan } from "./plan.ts";

/** How JSON kinds choose a member of an untagged oneof; of arrays, the kind of the first element. */
export interface UnionDispatch {
  readonly string: FieldPlan | undefined;
  readonly number: FieldPlan | undefined;
  readonly boolean: FieldPlan | undefined;
  /** In the order of declaration: the first whose member is there. */
  readonly objects: readonly { readonly has: string; readonly choice: FieldPlan }[];
  /** The object member without a discriminator. */
  readonly object: FieldPlan | undefined;
  readonly array: ArrayDispatch | undefined;
  /** Takes the kinds that no other member has taken: a raw_json member. */
  readonly fallback: FieldPlan | undefined;
}

interface ArrayDispatch {
  /** What an empty array is: the array member declared first. */
  readonly empty: FieldPlan;
  /** Undefined where there is only one array member. */
  readonly elements: UnionDispatch | undefined;
}

/** A kind that a member has in JSON; `any` for raw_json. */
export type Form =
  | { readonly kind: "string" | "number" | "boolean" | "object" | "any" }
  | { readonly kind: "array"; readonly elements: () => readonly Form[] };

interface Candidate {
  readonly choice: FieldPlan;
  readonly form: Form;
}

export const emptyDispatch: UnionDispatch = {
  string: undefined,
  number: undefined,
  boolean: undefined,
  objects: [],
  object: undefined,
  array: undefined,
  fallback: undefined,
};

/** Deeper arrays of arrays than this are not told apart. */
const maxArrayDepth = 8;

/** Throws {@link SchemaError} where two members look the same in JSON. */
export function unionDispatch(oneof: DescOneof, alternatives: readonly FieldPlan[]): UnionDispatch {
  const candidates = alternatives.flatMap((choice) => fieldForms(choice).map((form) => ({ choice, form })));
  for (const alternative of alternatives) {
    if (alternative.has !== "" && !fieldForms(alternative).some((form) => form.kind === "object")) {
      throw new SchemaError(alternative.desc, "has is for members that are objects in JSON");
    }
  }
  return dispatchOf(oneof, candidates, 0);
}

/** The member that a JSON value is; undefined where it is none. */
export function selectMember(dispatch: UnionDispatch, json: unknown): FieldPlan | undefined {
  switch (typeof json) {
    case "string":
      return dispatch.string ?? dispatch.fallback;
    case "number":
      return dispatch.number ?? dispatch.fallback;
    case "boolean":
      return dispatch.boolean ?? dispatch.fallback;
  }
  if (Array.isArray(json)) {
    const array = dispatch.array;
    if (array === undefined) return dispatch.fallback;
    if (json.length === 0 || array.elements === undefined) return array.empty;
    return selectMember(array.elements, json[0]);
  }
  if (json === null) return dispatch.fallback;
  for (const { has, choice } of dispatch.objects) if (Object.hasOwn(json as object, has)) return choice;
  return dispatch.object ?? dispatch.fallback;
}

/** What a oneof takes, in words: `a string, an array of strings or an array of numbers`. */
export function describeDispatch(dispatch: UnionDispatch): string {
  const words = dispatchWords(dispatch).map(({ one }) => one);
  const last = words.pop() ?? "nothing";
  return words.length === 0 ? last : `${words.join(", ")} or ${last}`;
}

/** The kind of a JSON value in the same words; of an array, with the kind of its first element. */
export function describeKind(json: unknown, depth = 0): string {
  const article = depth === 0;
  if (Array.isArray(json)) {
    const array = article ? "an array" : "arrays";
    return json.length === 0 || depth === maxArrayDepth ? array : `${array} of ${describeKind(json[0], depth + 1)}`;
  }
  if (json === null) return article ? "null" : "nulls";
  const kind = typeof json;
  if (!article) return `${kind}s`;
  return kind === "object" ? "an object" : `a ${kind}`;
}

function dispatchWords(dispatch: UnionDispatch): { one: string; many: string }[] {
  const words = [];
  if (dispatch.string !== undefined) words.push({ one: "a string", many: "strings" });
  if (dispatch.number !== undefined) words.push({ one: "a number", many: "numbers" });
  if (dispatch.boolean !== undefined) words.push({ one: "a boolean", many: "booleans" });
  if (dispatch.object !== undefined || dispatch.objects.length > 0) words.push({ one: "an object", many: "objects" });
  if (dispatch.array?.elements !== undefined) {
    for (const { many } of dispatchWords(dispatch.array.elements)) {
      words.push({ one: `an array of ${many}`, many: `arrays of ${many}` });
    }
  } else if (dispatch.array !== undefined) words.push({ one: "an array", many: "arrays" });
  return words;
}

function dispatchOf(oneof: DescOneof, candidates: readonly Candidate[], depth: number): UnionDispatch {
  const of = (kind: Form["kind"]) => candidates.filter(({ form }) => form.kind === kind).map(({ choice }) => choice);
  const objects = distinct(of("object"));
  const plain = objects.filter(({ has }) => has === "");
  if (plain.length > 1) throw ambiguous(oneof, "object", plain, depth);
  const discriminated = objects.filter(({ has }) => has !== "").map((choice) => ({ has: choice.has, choice }));
  const twice = discriminated.find(({ has }, i) => discriminated.findIndex((other) => other.has === has) !== i);
  if (twice !== undefined) throw new SchemaError(twice.choice.desc, `has "${twice.has}" stands for two members`);
  return {
    string: single(oneof, "string", of("string"), depth),
    number: single(oneof, "number", of("number"), depth),
    boolean: single(oneof, "boolean", of("boolean"), depth),
    objects: discriminated,
    object: plain[0],
    array: arrayDispatch(oneof, candidates, depth),
    fallback: single(oneof, "any kind", of("any"), depth),
  };
}

function arrayDispatch(oneof: DescOneof, candidates: readonly Candidate[], depth: number): ArrayDispatch | undefined {
  const arrays = candidates.flatMap(({ choice, form }) => (form.kind === "array" ? [{ choice, form }] : []));
  const choices = distinct(arrays.map(({ choice }) => choice));
  const [empty] = choices;
  if (empty === undefined) return undefined;
  if (choices.length === 1) return { empty, elements: undefined };
  if (depth === maxArrayDepth) throw ambiguous(oneof, "array", choices, depth);
  const elements = arrays.flatMap(({ choice, form }) => form.elements().map((element) => ({ choice, form: element })));
  return { empty, elements: dispatchOf(oneof, elements, depth + 1) };
}

function single(oneof: DescOneof, kind: string, choices: readonly FieldPlan[], depth: number): FieldPlan | undefined {
  const [first, second] = distinct(choices);
  if (first !== undefined && second !== undefined) throw ambiguous(oneof, kind, [first, second], depth);
  return first;
}

function ambiguous(oneof: DescOneof, kind: string, choices: readonly FieldPlan[], depth: number): SchemaError {
  const names = choices.map(({ name }) => name).join(" and ");
  const form = `${"array of ".repeat(depth)}${kind}`;
  return new SchemaError(oneof, `ambiguous: ${names} have the same form in JSON (${form})`);
}

function distinct(choices: readonly FieldPlan[]): FieldPlan[] {
  return [...new Set(choices)];
}

/** The JSON kinds that a field can have. A google.api.HttpBody has none. */
export function fieldForms(field: FieldPlan): readonly Form[] {
  if (field.cardinality === "map") return [{ kind: "object" }];
  if (field.cardinality === "one") return valueForms(field.value);
  const list: Form = { kind: "array", elements: () => valueForms(field.value) };
  return field.oneOrList ? [list, ...valueForms(field.value)] : [list];
}

function valueForms(value: ValuePlan): readonly Form[] {
  switch (value.kind) {
    case "string":
    case "bytes":
    case "enum":
      return [{ kind: "string" }];
    case "bool":
      return [{ kind: "boolean" }];
    case "float":
    case "int":
      return [{ kind: "number" }];
    case "long":
      return [{ kind: value.asNumber ? "number" : "string" }];
    case "raw":
      return [{ kind: "any" }];
    case "message": {
      const shape = value.message.shape;
      if (shape.kind === "object") return [{ kind: "object" }];
      if (shape.kind === "flat") return fieldForms(shape.field);
      if (shape.kind === "union") return shape.union.alternatives.flatMap(fieldForms);
      return [];
    }
  }
}

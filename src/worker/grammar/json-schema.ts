import { type Automaton, anyText, combine, isEmpty, lengthAutomaton, textsAutomaton } from "./automaton.ts";
import { automatonExpression, plain } from "./automaton-grammar.ts";
import { type Conjunction, type Conjunctions, createConjunctions } from "./conjunction.ts";
import { canonical } from "./decimal.ts";
import {
  choice,
  createGrammarBuilder,
  type Expression,
  empty,
  type Grammar,
  type GrammarBuilder,
  literal,
  never,
  type OpenRule,
  sequence,
} from "./gbnf.ts";
import { createJsonRules, type JsonRules, type ObjectForm, type TextRules } from "./json-rules.ts";
import type { JsonText } from "./json-text.ts";
import { readDocument, type SchemaDocument, type TypeName, type Unread } from "./keywords.ts";
import { type Budget, createBudget } from "./limits.ts";
import { jsonNotation } from "./notations.ts";
import { numberAutomaton } from "./numbers.ts";
import { textChoice } from "./text-choice.ts";

/** How a schema is compiled. */
export interface JsonSchemaOptions {
  /** The request field that holds the schema, for errors. */
  readonly param: string;
  /** Objects without `additionalProperties` are closed, also those without `properties`. */
  readonly strict?: boolean;
}

/**
 * Compiles a JSON Schema, given as its JSON text, to a grammar of JSON texts
 * that are all valid for it (docs/structured-output.md says which of the valid
 * ones). Throws `invalid_request` that names the place where the schema is
 * malformed, says what a grammar can't, allows no value at all, or goes beyond
 * `grammarLimits`.
 */
export function compileJsonSchema(source: string, options: JsonSchemaOptions): Grammar {
  const builder = createGrammarBuilder(createBudget(options.param));
  return finish(builder, schemaExpression(source, options, builder));
}

/** A grammar of any JSON object: OpenAI's `json_object`. */
export function compileJsonObject(): Grammar {
  const builder = createGrammarBuilder(createBudget("response_format"));
  return finish(builder, anyObject(builder));
}

/** Any JSON object, as a part of a grammar. */
export function anyObject(builder: GrammarBuilder): Expression {
  return createJsonRules(builder, jsonNotation(builder)).object;
}

/** A grammar of exactly these texts. Throws `invalid_request` where there is none, and beyond `grammarLimits`. */
export function compileChoice(texts: readonly string[], param: string): Grammar {
  const builder = createGrammarBuilder(createBudget(param));
  return finish(builder, choiceExpression(texts, param, builder));
}

/** What {@link compileJsonSchema} compiles, as a part of a grammar. */
export function schemaExpression(source: string, options: JsonSchemaOptions, builder: GrammarBuilder): Expression {
  const { compiler, document } = read(source, options, builder, createJsonRules(builder, jsonNotation(builder)));
  const expression = compiler.compile(document.root);
  if (builder.possible()(expression)) return expression;
  throw document.refuse(compiler.impossible() ?? "#", "allows no value");
}

/** What {@link compileChoice} compiles, as a part of a grammar. */
export function choiceExpression(texts: readonly string[], param: string, builder: GrammarBuilder): Expression {
  const budget = builder.budget.for(param);
  budget.checkLength(texts.reduce((sum, text) => sum + text.length, 0));
  const expression = textChoice(texts, builder);
  if (expression !== never) return expression;
  throw budget.refuse(`\`${param}\` has no text to choose from`);
}

/** Objects of a schema, and what to say where {@link GrammarBuilder.possible} finds none. */
export interface ObjectPart {
  readonly expression: Expression;
  refusal(): Error;
}

/**
 * Objects that are valid for a schema, written in another form than JSON's: the
 * arguments of a call. What they hold is written by `json`. Throws as
 * {@link compileJsonSchema} does, also where the form can't hold the schema.
 */
export function objectExpression(
  source: string,
  options: JsonSchemaOptions,
  builder: GrammarBuilder,
  json: JsonRules,
  form: ObjectForm,
): ObjectPart {
  const { compiler, document } = read(source, options, builder, json);
  return {
    expression: compiler.compileObject(document.root, form),
    refusal: () => document.refuse(compiler.impossible() ?? "#", "allows no object that a call can hold"),
  };
}

function read(source: string, options: JsonSchemaOptions, builder: GrammarBuilder, json: JsonRules) {
  const { param, strict = false } = options;
  const budget = builder.budget.for(param);
  budget.checkLength(source.length);
  const document = readDocument(source, budget);
  const conjunctions = createConjunctions(document, strict, budget);
  return { document, compiler: createCompiler(document, conjunctions, builder, budget, json) };
}

function finish(builder: GrammarBuilder, root: Expression): Grammar {
  const grammar = builder.build(root);
  if (grammar === undefined) throw new Error("the grammar is empty");
  return grammar;
}

interface Compiler {
  /** The expression of a schema, with all that it uses. */
  compile(schema: Unread): Expression;
  /** Its objects only, in a form of their own. */
  compileObject(schema: Unread, form: ObjectForm): Expression;
  /** The first place whose own keywords contradict each other. */
  impossible(): string | undefined;
}

/** Most different values that `uniqueItems` is held for: each set of those used is a rule. */
const maxUnique = 8;
/** Patterns of names in one object: each set of those that match a name is told apart. */
const maxNamePatterns = 4;

function createCompiler(
  document: SchemaDocument,
  conjunctions: Conjunctions,
  builder: GrammarBuilder,
  budget: Budget,
  json: JsonRules,
): Compiler {
  const { notation } = json;
  const { ways } = conjunctions;
  const compiled = new Map<string, Expression>();
  const waiting: { way: Conjunction; open: OpenRule; write: (way: Conjunction) => Expression }[] = [];
  const numbers = new Map<string, Expression>();
  const strings = new Map<Automaton, Expression>();
  let impossible: string | undefined;

  /** Values that satisfy all of the schemas. */
  const value = (schemas: readonly Unread[]): Expression => choice(...new Set(ways(schemas).map((way) => ofWay(way))));

  const ofWay = (way: Conjunction): Expression => {
    let found = compiled.get(way.key);
    if (found === undefined) {
      found = write(way);
      if (found === never) impossible ??= way.place;
      compiled.set(way.key, found);
    }
    return found;
  };

  const write = (way: Conjunction): Expression => {
    const values = conjunctions.values(way);
    if (values !== undefined) return ofValues(values.filter((each) => conjunctions.holds(way, each)));
    const types = conjunctions.types(way);
    const isAny = types.size === 6 && way.schemas.every(({ hints, integer }) => hints.size === 0 && !integer);
    return isAny ? json.value : choice(...Array.from(types, (type) => ofType(way, type)));
  };
  const ofType = (way: Conjunction, type: TypeName): Expression => {
    switch (type) {
      case "null":
        return literal("null");
      case "boolean":
        return json.boolean;
      case "number":
        return number(way);
      case "string":
        return string(way);
      // What holds values is written later: schemas refer to themselves, and chains of them are long.
      case "array":
        return later("array", way, array);
      case "object":
        return later("object", way, (each) => object(each, json.form));
      default:
        return type satisfies never;
    }
  };
  const later = (kind: string, way: Conjunction, writeOne: (way: Conjunction) => Expression): Expression => {
    const open = builder.open(kind);
    waiting.push({ way, open, write: writeOne });
    return open.rule;
  };

  const ofValues = (values: readonly JsonText[]): Expression => {
    const simple = values
      .filter(({ kind }) => kind !== "array" && kind !== "object")
      .flatMap((each) => json.textOf(each) ?? []);
    const whole = values.filter(({ kind }) => kind === "array" || kind === "object").map((each) => json.constant(each));
    return choice(textChoice(simple, builder), ...whole);
  };

  const number = (way: Conjunction): Expression => {
    const rules = conjunctions.numbers(way);
    if (rules.min === undefined && rules.max === undefined && rules.multipleOf === undefined) {
      return rules.integer ? json.integer : json.number;
    }
    const key = JSON.stringify(rules, (_, each) => (typeof each === "bigint" ? String(each) : each));
    let found = numbers.get(key);
    if (found === undefined) {
      const automaton = numberAutomaton(rules, budget);
      if ("reason" in automaton) throw document.refuse(way.place, `has ${automaton.reason}, which can't be expressed`);
      found = isEmpty(automaton) ? never : builder.share("number", automatonExpression(automaton, plain, builder));
      numbers.set(key, found);
    }
    return found;
  };

  const string = (way: Conjunction): Expression => {
    const automaton = conjunctions.strings(way);
    if (automaton !== undefined) return cachedString(automaton);
    const { min, max } = conjunctions.lengths(way);
    if (min === 0 && max === undefined) return json.string;
    return builder.share("string", notation.stringOfLength(min, max));
  };
  const cachedString = (automaton: Automaton): Expression => {
    let found = strings.get(automaton);
    if (found === undefined) {
      found = isEmpty(automaton) ? never : builder.share("string", notation.stringOf(automaton));
      strings.set(automaton, found);
    }
    return found;
  };

  const array = (way: Conjunction): Expression => {
    const { prefix, min, max } = conjunctions.itemCounts(way);
    if (max !== undefined && max < min) return never;
    if (way.schemas.some(({ uniqueItems }) => uniqueItems) && max !== 0 && max !== 1) return uniqueArray(way, min, max);
    const fixed = Math.min(prefix, max ?? prefix);
    const rest = value(conjunctions.item(way, prefix));
    const more = (count: number): Expression => {
      const [low, high] = [Math.max(0, min - count), max === undefined ? undefined : max - count];
      if (high === 0 || rest === never) return low === 0 ? empty : never;
      if (count > 0) return builder.repeat(builder.share("item", sequence(json.comma, rest)), low, high);
      const others = builder.repeat(
        builder.share("item", sequence(json.comma, rest)),
        Math.max(0, low - 1),
        high === undefined ? undefined : high - 1,
      );
      return optional(sequence(rest, others), low === 0);
    };
    let tail = more(fixed);
    for (let i = fixed - 1; i >= 0; i--) {
      const item = sequence(i === 0 ? empty : json.comma, value(conjunctions.item(way, i)), tail);
      tail = optional(item, i >= min);
      if (i % 16 === 0 && i > 0) tail = builder.share("items", tail);
    }
    return json.inBrackets(tail);
  };
  const optional = (expression: Expression, isOptional: boolean): Expression =>
    isOptional ? choice(expression, empty) : expression;

  /** Arrays of different ones of a few known values: a rule for each set of those that are left. */
  const uniqueArray = (way: Conjunction, min: number, max: number | undefined): Expression => {
    const items = finiteValues(conjunctions.item(way, 0));
    if (conjunctions.itemCounts(way).prefix > 0 || items === undefined) {
      throw document.refuse(
        way.place,
        `has \`uniqueItems\`, which can be held only for items of an \`enum\` of at most ${maxUnique} values`,
      );
    }
    const most = Math.min(max ?? items.length, items.length);
    const texts = items.map((item) => json.constant(item));
    const rules = new Map<number, Expression>();
    const after = (used: number, count: number): Expression => {
      const found = rules.get(used);
      if (found !== undefined) return found;
      const options = texts.flatMap((text, i) =>
        count >= most || used & (1 << i)
          ? []
          : [sequence(count === 0 ? empty : json.comma, text, after(used | (1 << i), count + 1))],
      );
      const rule = builder.share("unique", choice(...options, count >= min ? empty : never));
      rules.set(used, rule);
      return rule;
    };
    return json.inBrackets(after(0, 0));
  };

  /** All values that satisfy the schemas, where they are listed and few. */
  const finiteValues = (schemas: readonly Unread[]): readonly JsonText[] | undefined => {
    const found = new Map<string, JsonText>();
    for (const way of ways(schemas)) {
      const types = conjunctions.types(way);
      const listed =
        conjunctions.values(way) ??
        ([...types].every((type) => type === "boolean" || type === "null") ? booleansAndNull : undefined);
      if (listed === undefined) return undefined;
      for (const each of listed) if (conjunctions.holds(way, each)) found.set(canonical(each), each);
    }
    return found.size > maxUnique ? undefined : [...found.values()];
  };

  const object = (way: Conjunction, form: ObjectForm): Expression => {
    const { schemas } = way;
    const required = new Set(schemas.flatMap((schema) => schema.required));
    const minimum = Math.max(0, ...schemas.map(({ minProperties }) => minProperties));
    const maximum = Math.min(...schemas.map(({ maxProperties }) => maxProperties ?? Infinity));
    const names = [...new Set([...schemas.flatMap(({ properties }) => [...(properties?.keys() ?? [])]), ...required])];
    const nameRules = schemas.flatMap(({ propertyNames }) => propertyNames ?? []);
    const members = names.map((name) => ({
      isRequired: required.has(name),
      expression: isAllowedName(name, nameRules)
        ? form.member(name, memberValue(conjunctions.member(way, name), form.ownValue?.(name)))
        : never,
    }));
    const extra = extraMembers(way, names, nameRules, form);

    // Counted as far as a bound needs it; whether there is one before decides about the comma.
    const isBounded = maximum < members.length || (extra !== never && maximum !== Infinity);
    const cap = Math.min(members.length, isBounded ? members.length : Math.max(1, minimum));
    budget.spend("steps", cap * members.length);
    const tail = (count: number): Expression => {
      const stop = count >= minimum ? empty : never;
      const room = maximum === Infinity ? undefined : maximum - count;
      if (extra === never || room === 0) return stop;
      const others = builder.repeat(
        builder.share("member", sequence(form.between, extra)),
        0,
        room === undefined ? undefined : room - 1,
      );
      // Names that aren't listed may be equal, and then count as one.
      const some = sequence(count === 0 ? empty : form.between, extra, others);
      return choice(count + 1 >= minimum ? some : never, stop);
    };
    let rules = Array.from({ length: cap + 1 }, (_, count) => tail(count));
    for (let i = members.length - 1; i >= 0; i--) {
      const { isRequired, expression } = members[i] ?? { isRequired: false, expression: never };
      const isShared = !isRequired || members[i - 1]?.isRequired !== true || i % 16 === 0;
      const behind = rules;
      rules = behind.map((skipped, count) => {
        const next = count >= maximum ? never : (behind[Math.min(count + 1, cap)] ?? never);
        const present = sequence(count === 0 ? empty : form.between, expression, next);
        const either = isRequired ? present : choice(present, skipped);
        return isShared && i > 0 ? builder.share("members", either) : either;
      });
    }
    const all = rules[0] ?? never;
    if (all === never && minimum > 1 && extra !== never) {
      throw document.refuse(
        way.place,
        "has `minProperties`, which can't be held where names aren't listed: they may be equal",
      );
    }
    return all === never ? never : form.wrap(all);
  };
  const memberValue = (schemas: readonly Unread[], own: ((rules: TextRules) => Expression) | undefined): Expression =>
    own === undefined
      ? value(schemas)
      : choice(
          ...ways(schemas).map((way) => {
            const values = conjunctions.values(way)?.filter((each) => conjunctions.holds(way, each));
            return own({
              values: values?.flatMap((each) => (each.kind === "string" ? each.value : [])),
              automaton: conjunctions.strings(way),
              ...conjunctions.lengths(way),
            });
          }),
        );

  const isAllowedName = (name: string, rules: readonly Unread[]): boolean =>
    rules.length === 0 ||
    ways(rules).some((way) => {
      const text: JsonText = { kind: "string", value: name };
      const values = conjunctions.values(way);
      return (
        (values === undefined || values.some((each) => canonical(each) === canonical(text))) &&
        conjunctions.holds(way, text)
      );
    });

  /** A member whose name is not listed: of each set of name patterns, and of none. */
  const extraMembers = (
    way: Conjunction,
    names: readonly string[],
    nameRules: readonly Unread[],
    form: ObjectForm,
  ): Expression => {
    const sources = [
      ...new Map(
        way.schemas.flatMap(({ patternProperties, place }) =>
          patternProperties.map(([source]) => [source, place] as const),
        ),
      ),
    ];
    if (sources.length > maxNamePatterns) {
      throw document.refuse(way.place, `has more than ${maxNamePatterns} patterns in \`patternProperties\``);
    }
    if (sources.length === 0 && !conjunctions.isOpen(way)) return never;
    const allowed = nameRules.length === 0 ? undefined : namesAutomaton(nameRules);
    const patterns = sources.map(([source, place]) => conjunctions.pattern(source, place));
    const listed = names.length === 0 ? undefined : textsAutomaton(names, budget);
    const options: Expression[] = [];
    for (let set = 0; set < 1 << patterns.length; set++) {
      if (set === 0 && !conjunctions.isOpen(way)) continue;
      const schemas = way.schemas.flatMap(({ patternProperties, additionalProperties }) => {
        const found = patternProperties.flatMap(([source, schema]) =>
          set & (1 << sources.findIndex(([other]) => other === source)) ? [schema] : [],
        );
        return found.length === 0 && additionalProperties !== undefined ? [additionalProperties] : found;
      });
      const member = value(schemas);
      if (member === never) continue;
      let name = allowed;
      patterns.forEach((pattern, i) => {
        const isIn = (set & (1 << i)) !== 0;
        name = isIn && name === undefined ? pattern : combine(name ?? anyText, pattern, isIn ? "and" : "minus", budget);
      });
      if (listed !== undefined) name = combine(name ?? anyText, listed, "minus", budget);
      options.push(name !== undefined && isEmpty(name) ? never : form.anyMember(name, member));
    }
    const expression = choice(...options);
    return expression === never ? never : builder.share("extra", expression);
  };

  /** Names that `propertyNames` allows. */
  const namesAutomaton = (rules: readonly Unread[]): Automaton | undefined => {
    let all: Automaton | undefined;
    for (const way of ways(rules)) {
      const values = conjunctions
        .values(way)
        ?.filter((each) => each.kind === "string" && conjunctions.holds(way, each));
      const { min, max } = conjunctions.lengths(way);
      let one = conjunctions.strings(way);
      if (values !== undefined)
        one = textsAutomaton(
          values.map((each) => (each.kind === "string" ? each.value : "")),
          budget,
        );
      else if (!conjunctions.types(way).has("string")) one = textsAutomaton([], budget);
      else if (one === undefined && min === 0 && max === undefined) return undefined;
      one ??= lengthAutomaton(min, max, budget);
      all = all === undefined ? one : combine(all, one, "or", budget);
    }
    return all ?? textsAutomaton([], budget);
  };

  const writeWaiting = () => {
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      const expression = next.write(next.way);
      if (expression === never) impossible ??= next.way.place;
      next.open.define(expression);
    }
  };

  return {
    impossible: () => impossible,
    compile(schema) {
      const root = value([schema]);
      writeWaiting();
      return root;
    },
    compileObject(schema, form) {
      const anyObject: JsonText = { kind: "object", members: new Map([["type", { kind: "string", value: "object" }]]) };
      const objects = ways([schema, { value: anyObject, place: "#" }]).map((way) => {
        if (!conjunctions.types(way).has("object")) return never;
        const values = conjunctions.values(way);
        if (values === undefined) return object(way, form);
        if (form === json.form) return ofValues(values.filter((each) => conjunctions.holds(way, each)));
        throw document.refuse(way.place, "lists whole objects, which this model's syntax of calls can't hold");
      });
      writeWaiting();
      return choice(...new Set(objects));
    },
  };
}

const booleansAndNull: readonly JsonText[] = [
  { kind: "boolean", value: true },
  { kind: "boolean", value: false },
  { kind: "null" },
];

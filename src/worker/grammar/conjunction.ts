import { type Automaton, combine, isEmpty, lengthAutomaton, matches } from "./automaton.ts";
import { canonical, commonMultiple, compareDecimals, isMultiple, parseDecimal } from "./decimal.ts";
import { stringFormats } from "./formats.ts";
import { type JsonText, quoted } from "./json-text.ts";
import type { Schema, SchemaDocument, TypeName, Unread } from "./keywords.ts";
import { type Budget, grammarLimits } from "./limits.ts";
import type { Bound, NumberRules } from "./numbers.ts";
import { regexAutomaton } from "./regex.ts";

/**
 * Schemas that all apply to one value, with their `$ref` and `allOf` among
 * them and with one branch chosen of every `anyOf` and `oneOf`: what is left
 * are keywords about the value itself.
 */
export interface Conjunction {
  /** The same for the same schemas. */
  readonly key: string;
  /** A place in the document, for messages. */
  readonly place: string;
  readonly schemas: readonly Schema[];
}

/** What is asked about schemas before their grammar is written. */
export interface Conjunctions {
  /**
   * The ways to satisfy all of some schemas. Empty: there is none. Throws
   * `invalid_request` where a schema applies itself to the same value again,
   * and for a `oneOf` whose branches can't be shown to exclude one another.
   */
  ways(schemas: readonly Unread[]): readonly Conjunction[];
  /** Whether a value is valid for a way, apart from its `enum` and `const`. */
  holds(way: Conjunction, value: JsonText): boolean;
  /** The values that `enum` and `const` leave, unless there are neither. */
  values(way: Conjunction): readonly JsonText[] | undefined;
  /** Types of the values that are generated: without any `type`, those that the keywords are about. */
  types(way: Conjunction): ReadonlySet<TypeName>;
  numbers(way: Conjunction): NumberRules;
  /** The automaton of `pattern` and `format` and, beside one of them, the lengths; undefined where there is neither. */
  strings(way: Conjunction): Automaton | undefined;
  lengths(way: Conjunction): { readonly min: number; readonly max: number | undefined };
  /** What must hold of a member of this name. */
  member(way: Conjunction, name: string): readonly Unread[];
  /** Whether members that no `properties` or `patternProperties` names are generated; their schemas are those of an unknown name. */
  isOpen(way: Conjunction): boolean;
  /** What must hold of the item at this index. */
  item(way: Conjunction, index: number): readonly Unread[];
  itemCounts(way: Conjunction): { readonly prefix: number; readonly min: number; readonly max: number | undefined };
  /** The automaton of a `pattern` or a name of `patternProperties`. */
  pattern(source: string, place: string): Automaton;
}

/** In strict mode objects are closed unless `additionalProperties` says otherwise. */
export function createConjunctions(document: SchemaDocument, strict: boolean, budget: Budget): Conjunctions {
  const expanded = new Map<string, readonly Conjunction[]>();
  const patterns = new Map<string, Automaton>();
  const texts = new Map<string, Automaton>();

  const ways = (schemas: readonly Unread[]): readonly Conjunction[] => {
    const key = schemas.map((schema) => document.read(schema).id).join();
    let found = expanded.get(key);
    if (found === undefined) {
      found = expand(
        schemas.map((schema) => ({ schema, above: undefined })),
        new Set(),
        [],
      );
      expanded.set(key, found);
    }
    return found;
  };

  interface Path {
    readonly id: number;
    readonly depth: number;
    readonly above: Path | undefined;
  }
  interface Applied {
    readonly schema: Unread;
    readonly above: Path | undefined;
  }
  interface Union {
    readonly place: string;
    readonly branches: readonly Unread[];
    readonly exclusive: boolean;
    readonly above: Path;
  }

  const expand = (applied: readonly Applied[], taken: Set<Schema>, unions: readonly Union[]): Conjunction[] => {
    const waiting = [...applied].reverse();
    const pending = [...unions];
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      const schema = document.read(next.schema);
      budget.spend("steps");
      for (let path = next.above; path !== undefined; path = path.above) {
        if (path.id === schema.id) throw document.refuse(schema.place, "applies itself to the same value again");
      }
      if (schema.impossible) return [];
      const above: Path = { id: schema.id, depth: (next.above?.depth ?? 0) + 1, above: next.above };
      if (above.depth > grammarLimits.applied) {
        throw document.refuse(
          schema.place,
          `applies to one value through more than ${grammarLimits.applied} references and combinations`,
        );
      }
      if (taken.has(schema)) continue;
      taken.add(schema);
      const inner = [...(schema.ref === undefined ? [] : [schema.ref]), ...schema.allOf];
      waiting.push(...inner.map((each) => ({ schema: each, above })).reverse());
      const { anyOf, oneOf, place } = schema;
      if (anyOf !== undefined) pending.push({ place: `${place}/anyOf`, branches: anyOf, exclusive: false, above });
      if (oneOf !== undefined) pending.push({ place: `${place}/oneOf`, branches: oneOf, exclusive: true, above });
    }
    const [union, ...rest] = pending;
    if (union === undefined) return [conjunction([...taken])];
    const branch = (schema: Unread, others: readonly Union[]) => {
      budget.spend("alternatives");
      budget.spend("steps", taken.size);
      return expand([{ schema, above: union.above }], new Set(taken), others);
    };
    if (union.exclusive && union.branches.length > 1) {
      checkExclusive(
        union,
        union.branches.map((schema) => branch(schema, [])),
      );
    }
    const found = new Map<string, Conjunction>();
    for (const schema of union.branches) for (const way of branch(schema, rest)) found.set(way.key, way);
    return [...found.values()];
  };

  const conjunction = (schemas: readonly Schema[]): Conjunction => {
    const ids = schemas.map(({ id }) => id);
    return { key: ids.join(), place: schemas[0]?.place ?? "#", schemas };
  };

  const checkExclusive = (union: Union, branches: readonly (readonly Conjunction[])[]) => {
    if (areTagged(branches)) return;
    branches.forEach((first, i) => {
      for (let j = 0; j < i; j++) {
        const second = branches[j] ?? [];
        for (const a of first) {
          for (const b of second) {
            if (excludes(a, b, 0) && excludes(b, a, 0)) continue;
            throw document.refuse(
              union.place,
              `has branches ${j} and ${i}, which a value may satisfy both; use \`anyOf\`, or tell them apart by a required member with a \`const\``,
            );
          }
        }
      }
    });
  };

  /**
   * Whether the branches list different values, or have a required member whose
   * values are listed and differ. The usual case, and cheaper than all pairs.
   */
  const areTagged = (branches: readonly (readonly Conjunction[])[]): boolean => {
    const differ = (listed: (way: Conjunction) => readonly JsonText[] | undefined): boolean => {
      const owner = new Map<string, number>();
      return branches.every((each, i) =>
        each.every((way) =>
          listed(way)?.every((value) => {
            budget.spend("steps");
            const key = canonical(value);
            const other = owner.get(key) ?? i;
            owner.set(key, i);
            return other === i;
          }),
        ),
      );
    };
    if (differ(self.values)) return true;
    const names = branches.flat()[0]?.schemas.flatMap((schema) => schema.required) ?? [];
    const isObject = (way: Conjunction) => explicitTypes(way)?.size === 1 && explicitTypes(way)?.has("object") === true;
    if (!branches.every((each) => each.every(isObject))) return false;
    return names.slice(0, 8).some((name) =>
      differ((way) => {
        if (!way.schemas.some((schema) => schema.required.includes(name))) return undefined;
        const lists = ways(self.member(way, name)).map((member) => self.values(member));
        return lists.every((list) => list !== undefined) ? lists.flat() : undefined;
      }),
    );
  };

  /** Whether no value that is generated for `a` can be valid for `b`. False where that isn't seen. */
  const excludes = (a: Conjunction, b: Conjunction, depth: number): boolean => {
    budget.spend("steps", 10);
    if (depth > 8) return false;
    const values = self.values(a);
    const others = self.values(b);
    const shared = values ?? others;
    if (shared !== undefined) return !shared.some((value) => isValid(a, value) && isValid(b, value));
    const possible = explicitTypes(b);
    return [...self.types(a)].every((type) => {
      if (possible !== undefined && !possible.has(type)) return true;
      switch (type) {
        case "null":
        case "boolean":
          return false;
        case "number": {
          const [x, y] = [self.numbers(a), self.numbers(b)];
          return isApart(x.max, y.min) || isApart(y.max, x.min);
        }
        case "string":
          return excludesStrings(a, b);
        case "array":
          return excludesArrays(a, b, depth);
        case "object":
          return excludesObjects(a, b, depth);
        default:
          return type satisfies never;
      }
    });
  };
  const excludesAll = (a: readonly Unread[], b: readonly Unread[], depth: number): boolean =>
    ways(a).every((x) => ways(b).every((y) => excludes(x, y, depth)));

  const excludesStrings = (a: Conjunction, b: Conjunction): boolean => {
    const [x, y] = [self.lengths(a), self.lengths(b)];
    if ((x.max !== undefined && x.max < y.min) || (y.max !== undefined && y.max < x.min)) return true;
    // A format's expression leaves valid texts out, so it doesn't say what `b` refuses.
    const sides = [stringsOf(a, true), stringsOf(b, false)] as const;
    return sides[0] !== undefined && sides[1] !== undefined && isEmpty(combine(sides[0], sides[1], "and", budget));
  };

  const excludesArrays = (a: Conjunction, b: Conjunction, depth: number): boolean => {
    const [x, y] = [self.itemCounts(a), standardCounts(b)];
    if ((x.max !== undefined && x.max < y.min) || (y.max !== undefined && y.max < x.min)) return true;
    for (let i = 0; i < Math.min(x.min, Math.max(x.prefix, y.prefix) + 1); i++) {
      if (excludesAll(self.item(a, i), self.item(b, i), depth + 1)) return true;
    }
    return false;
  };

  const excludesObjects = (a: Conjunction, b: Conjunction, depth: number): boolean => {
    const required = new Set(a.schemas.flatMap((schema) => schema.required));
    const generated = (name: string) =>
      (self.isOpen(a) || required.has(name) || a.schemas.some((schema) => isNamed(schema, name))) &&
      ways(self.member(a, name)).length > 0;
    for (const name of new Set(b.schemas.flatMap((schema) => schema.required))) if (!generated(name)) return true;
    for (const name of required) if (excludesAll(self.member(a, name), self.member(b, name), depth + 1)) return true;
    return false;
  };
  const isNamed = (schema: Schema, name: string): boolean =>
    schema.properties?.has(name) === true ||
    schema.patternProperties.some(([source]) => matches(pattern(source, schema.place), name));

  const pattern = (source: string, place: string): Automaton => {
    let found = patterns.get(source);
    if (found === undefined) {
      found = regexAutomaton(source, "anywhere", budget, `the schema at ${place}`);
      patterns.set(source, found);
    }
    return found;
  };
  const format = (name: string): Automaton => {
    const key = `format ${name}`;
    let found = patterns.get(key);
    if (found === undefined) {
      found = regexAutomaton(stringFormats[name] ?? "", "whole", budget, `the format ${quoted(name)}`);
      patterns.set(key, found);
    }
    return found;
  };
  const stringsOf = (way: Conjunction, withFormats: boolean): Automaton | undefined => {
    const { min, max } = self.lengths(way);
    const sources = new Map<string, () => Automaton>();
    for (const schema of way.schemas) {
      const { pattern: source, format: name, place } = schema;
      if (source !== undefined) sources.set(`pattern ${source}`, () => pattern(source, place));
      if (name !== undefined && withFormats) sources.set(`format ${name}`, () => format(name));
    }
    if (sources.size === 0) return undefined;
    const key = JSON.stringify([...sources.keys(), min, max]);
    let found = texts.get(key);
    if (found === undefined) {
      const parts = Array.from(sources.values(), (make) => make());
      if (min > 0 || max !== undefined) parts.push(lengthAutomaton(min, max, budget));
      found = parts.reduce((all, part) => combine(all, part, "and", budget));
      texts.set(key, found);
    }
    return found;
  };

  const holdsAll = (schemas: readonly Unread[], value: JsonText): boolean =>
    ways(schemas).some((way) => isValid(way, value));
  const isValid = (way: Conjunction, value: JsonText): boolean => {
    const text = canonical(value);
    const values = self.values(way);
    return (values === undefined || values.some((each) => canonical(each) === text)) && holds(way, value);
  };

  /** A format holds where its expression does. */
  const holds = (way: Conjunction, value: JsonText): boolean => {
    budget.spend("steps");
    if (explicitTypes(way)?.has(value.kind) === false) return false;
    switch (value.kind) {
      case "null":
      case "boolean":
        return true;
      case "number": {
        const number = parseDecimal(value.text);
        if (number === undefined) return false;
        const { integer, min, max, multipleOf } = self.numbers(way);
        if (integer && number.scale > 0) return false;
        if (min !== undefined && compareDecimals(number, min.value) < (min.exclusive ? 1 : 0)) return false;
        if (max !== undefined && compareDecimals(number, max.value) > (max.exclusive ? -1 : 0)) return false;
        return multipleOf === undefined || isMultiple(number, multipleOf);
      }
      case "string": {
        const { min, max } = self.lengths(way);
        const length = Array.from(value.value).length;
        if (length < min || length > (max ?? length)) return false;
        const automaton = self.strings(way);
        return automaton === undefined || matches(automaton, value.value);
      }
      case "array": {
        const { min, max } = standardCounts(way);
        const { length } = value.items;
        if (length < min || length > (max ?? length)) return false;
        if (way.schemas.some((schema) => schema.uniqueItems) && new Set(value.items.map(canonical)).size < length) {
          return false;
        }
        return value.items.every((item, i) => holdsAll(self.item(way, i), item));
      }
      case "object": {
        const { members } = value;
        return (
          way.schemas.every((schema) => {
            const { required, minProperties, maxProperties, propertyNames } = schema;
            if (members.size < minProperties || members.size > (maxProperties ?? members.size)) return false;
            if (!required.every((name) => members.has(name))) return false;
            return (
              propertyNames === undefined ||
              [...members.keys()].every((name) => holdsAll([propertyNames], { kind: "string", value: name }))
            );
          }) && [...members].every(([name, member]) => holdsAll(self.member(way, name), member))
        );
      }
      default:
        return value satisfies never;
    }
  };

  const self: Conjunctions = {
    ways,
    holds,
    pattern,
    strings: (way) => stringsOf(way, true),
    values(way) {
      const lists = way.schemas.flatMap((schema) => schema.values);
      const [first, ...others] = lists;
      if (first === undefined) return undefined;
      const found = new Map(first.map((value) => [canonical(value), value]));
      for (const other of others) {
        const keys = new Set(other.map(canonical));
        for (const key of found.keys()) if (!keys.has(key)) found.delete(key);
      }
      budget.spend("steps", found.size);
      return [...found.values()];
    },
    types(way) {
      const explicit = explicitTypes(way);
      if (explicit !== undefined) return explicit;
      const hints = new Set(way.schemas.flatMap((schema) => [...schema.hints]));
      return hints.size > 0 ? hints : allTypes;
    },
    numbers(way) {
      const multiples = way.schemas.flatMap(({ multipleOf }) => multipleOf ?? []);
      return {
        integer: way.schemas.some((schema) => schema.integer),
        min: strictest(
          way.schemas.flatMap((schema) => schema.min),
          1,
        ),
        max: strictest(
          way.schemas.flatMap((schema) => schema.max),
          -1,
        ),
        multipleOf: multiples.length === 0 ? undefined : multiples.reduce(commonMultiple),
      };
    },
    lengths: (way) => ({
      min: Math.max(0, ...way.schemas.map((schema) => schema.minLength)),
      max: least(way.schemas.map((schema) => schema.maxLength)),
    }),
    member: (way, name) =>
      way.schemas.flatMap((schema) => {
        const own = schema.properties?.get(name);
        const found = own === undefined ? [] : [own];
        for (const [source, each] of schema.patternProperties) {
          if (matches(pattern(source, schema.place), name)) found.push(each);
        }
        const { additionalProperties } = schema;
        return found.length === 0 && additionalProperties !== undefined ? [additionalProperties] : found;
      }),
    isOpen: (way) =>
      way.schemas.some((schema) => schema.additionalProperties !== undefined) ||
      (!strict &&
        way.schemas.every((schema) => schema.properties === undefined && schema.patternProperties.length === 0)),
    item: (way, index) =>
      way.schemas.flatMap(({ prefixItems = [], items }) => {
        const found = prefixItems[index] ?? items;
        return found === undefined ? [] : [found];
      }),
    itemCounts(way) {
      const { min, max, prefix } = standardCounts(way);
      const declared = way.schemas.some((schema) => schema.minItems !== undefined);
      const isClosed = prefix > 0 && way.schemas.every((schema) => schema.items === undefined);
      const fill = Math.min(prefix, max ?? prefix);
      return {
        prefix,
        min: declared ? min : Math.max(min, fill),
        max: isClosed ? Math.min(max ?? Infinity, Math.max(min, fill)) : max,
      };
    },
  };
  return self;
}

const allTypes: ReadonlySet<TypeName> = new Set(["object", "array", "string", "number", "boolean", "null"]);

/** The types that all of the schemas' `type` allow; undefined where none has one. */
function explicitTypes(way: Conjunction): ReadonlySet<TypeName> | undefined {
  const sets = way.schemas.flatMap(({ types }) => types ?? []);
  return sets.length === 0 ? undefined : sets.reduce<ReadonlySet<TypeName>>((a, b) => a.intersection(b), allTypes);
}

/** Item counts as JSON Schema has them, where a prefix may be cut short and go on. */
function standardCounts(way: Conjunction): { prefix: number; min: number; max: number | undefined } {
  return {
    prefix: Math.max(0, ...way.schemas.map(({ prefixItems }) => prefixItems?.length ?? 0)),
    min: Math.max(0, ...way.schemas.map(({ minItems }) => minItems ?? 0)),
    max: least(way.schemas.map(({ maxItems }) => maxItems)),
  };
}

function least(values: readonly (number | undefined)[]): number | undefined {
  const found = values.filter((value) => value !== undefined);
  return found.length === 0 ? undefined : Math.min(...found);
}

/** The bound that no other goes beyond: the greatest where `direction` is 1, the least where it is −1. */
function strictest(bounds: readonly Bound[], direction: 1 | -1): Bound | undefined {
  return bounds.reduce<Bound | undefined>((best, bound) => {
    if (best === undefined) return bound;
    const order = compareDecimals(bound.value, best.value) * direction;
    return order > 0 || (order === 0 && bound.exclusive) ? bound : best;
  }, undefined);
}

/** Whether everything up to `max` lies below everything from `min` on. */
function isApart(max: Bound | undefined, min: Bound | undefined): boolean {
  if (max === undefined || min === undefined) return false;
  const order = compareDecimals(max.value, min.value);
  return order < 0 || (order === 0 && (max.exclusive || min.exclusive));
}

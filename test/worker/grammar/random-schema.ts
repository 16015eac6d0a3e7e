/** Random JSON Schemas of the keywords that the compiler knows, which may contradict themselves. */
export function randomSchema(random: () => number): unknown {
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T;
  const chance = (p: number) => random() < p;
  const whole = (max: number) => Math.floor(random() * (max + 1));
  const names = ["a", "b", "ab", "name", 'q"'];
  const literals = [null, true, false, 0, 1, 2.5, "", "a", "ab", "x\n", [], [1], {}, { a: 1 }];
  const some = <T>(items: readonly T[], p: number) => items.filter(() => chance(p));

  const scalar = (): Record<string, unknown> => {
    switch (whole(6)) {
      case 0:
        return { type: "null" };
      case 1:
        return { type: "boolean" };
      case 2:
        return { enum: [pick(literals), pick(literals), pick(literals)] };
      case 3: {
        const low = whole(40) - 20;
        return {
          type: pick(["integer", "number"]),
          ...(chance(0.6) && { [pick(["minimum", "exclusiveMinimum"])]: low / pick([1, 1, 2, 8]) }),
          ...(chance(0.6) && { [pick(["maximum", "exclusiveMaximum"])]: (low + whole(300)) / pick([1, 1, 4]) }),
          ...(chance(0.2) && { multipleOf: pick([1, 2, 3, 10, 0.5, 0.25]) }),
        };
      }
      case 4:
        return { type: "string", format: pick(["date", "time", "uuid", "ipv4", "email", "date-time", "hostname"]) };
      default:
        return {
          type: "string",
          ...(chance(0.4) && { minLength: whole(4) }),
          ...(chance(0.4) && { maxLength: 2 + whole(5) }),
          ...(chance(0.4) && {
            pattern: pick(["^a", "b$", "^[a-z]{1,4}$", "a|b", "^(ab)*$", "\\d", "^[^a]+$", '["\\\\]', "^.{2}"]),
          }),
        };
    }
  };
  const array = (depth: number): Record<string, unknown> => ({
    type: "array",
    ...(chance(0.8) && { items: chance(0.05) ? false : schema(depth - 1) }),
    ...(chance(0.25) && { prefixItems: [schema(depth - 1), schema(depth - 1)].slice(whole(1)) }),
    ...(chance(0.4) && { minItems: whole(3) }),
    ...(chance(0.4) && { maxItems: 1 + whole(4) }),
  });
  const object = (depth: number): Record<string, unknown> => ({
    type: "object",
    ...(chance(0.9) && { properties: Object.fromEntries(some(names, 0.5).map((name) => [name, schema(depth - 1)])) }),
    ...(chance(0.6) && { required: some(names, 0.3) }),
    ...(chance(0.5) && { additionalProperties: chance(0.5) ? chance(0.4) : schema(depth - 1) }),
    ...(chance(0.15) && { patternProperties: { [pick(["^a", "b", "^x"])]: schema(depth - 1) } }),
    ...(chance(0.1) && { propertyNames: pick([{ pattern: "^[a-z]" }, { maxLength: 2 }, { enum: ["a", "z"] }]) }),
    ...(chance(0.15) && { minProperties: whole(2) }),
    ...(chance(0.15) && { maxProperties: whole(4) }),
  });
  const schema = (depth: number): unknown => {
    if (chance(0.04)) return true;
    if (depth > 0 && chance(0.08)) return { $ref: pick(["#/$defs/one", "#/$defs/two"]) };
    const plain = depth <= 0 || chance(0.35) ? scalar() : chance(0.4) ? array(depth) : object(depth);
    if (depth <= 0 || chance(0.7)) return plain;
    switch (whole(3)) {
      case 0:
        return { anyOf: [plain, schema(depth - 1), scalar()] };
      case 1:
        return { oneOf: [plain, scalar()] };
      case 2: {
        // Two of a kind, so that they often have something in common.
        const kind = pick([scalar, () => array(depth - 1), () => object(depth - 1)]);
        return { allOf: [kind(), kind()] };
      }
      default:
        return { ...object(depth - 1), anyOf: [{ required: [pick(names)] }, object(0)] };
    }
  };
  return { ...(schema(3) as object), $defs: { one: schema(1), two: object(2) } };
}

import { Ajv2020 } from "ajv/dist/2020.js";
import formats from "ajv-formats";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LoquiError } from "../../../src/errors.ts";
import type { Grammar } from "../../../src/worker/grammar/gbnf.ts";
import { compileJsonObject, compileJsonSchema } from "../../../src/worker/grammar/json-schema.ts";
import { seededRandom } from "../../codec/random-message.ts";
import { type GrammarEngine, openGrammarEngine } from "../../support/grammar-engine.ts";
import { grammarWalker } from "../../support/grammar-walk.ts";
import { changed } from "./invalidate.ts";
import { randomSchema } from "./random-schema.ts";
import { allCases } from "./schema-cases.ts";

let engine: GrammarEngine;
beforeAll(async () => {
  engine = await openGrammarEngine();
});
afterAll(() => engine.close());

const compile = (schema: unknown, strict = false): Grammar =>
  compileJsonSchema(JSON.stringify(schema), { param: "schema", strict });

/** ajv as the judge of what is valid. Whether 0.07 is a multiple of 0.01 it decides with a tolerance only. */
function validator(schema: unknown): (value: unknown) => boolean {
  const ajv = new Ajv2020({ strict: false, multipleOfPrecision: 9, logger: false, validateSchema: false });
  formats.default(ajv);
  const validate = ajv.compile(schema as object);
  return (value) => validate(value) as boolean;
}

/** A JSON value without lone surrogates, as it can be sent. */
const textOf = (value: unknown) => JSON.stringify(value);

/**
 * The heart of it. Every text of a random walk is valid JSON and valid for the
 * schema, and llama.cpp takes it whole; every change of it that makes it
 * invalid is refused by llama.cpp. Returns how many were refused.
 */
function check(schema: unknown, grammar: Grammar, seed: number, walks: number): number {
  const isValid = validator(schema);
  const random = seededRandom(seed);
  const walk = grammarWalker(grammar, random);
  const opened = engine.open(grammar.text);
  let refused = 0;
  for (let i = 0; i < walks; i++) {
    const text = walk();
    const value: unknown = JSON.parse(text);
    if (!isValid(value)) expect.fail(`${text} is not valid for ${JSON.stringify(schema)}\n${grammar.text}`);
    if (!opened.accepts(text)) expect.fail(`llama.cpp refuses ${text} of\n${grammar.text}`);
    if (text.length > 2_000) continue;
    const others = changed(value, random)
      .filter((other) => !isValid(other))
      .map(textOf);
    for (let cut = 0; cut < 3; cut++)
      others.push(text.slice(0, Math.floor(random() * text.length)), `${text}${random() < 0.5 ? "}" : "1"}`);
    const few = others.length <= 24 ? others : others.filter(() => random() < 24 / others.length);
    for (const other of few) {
      if (isJson(other) && isValid(JSON.parse(other))) continue;
      if (opened.accepts(other))
        expect.fail(`llama.cpp accepts ${other} for ${JSON.stringify(schema)}\n${grammar.text}`);
      refused++;
    }
  }
  return refused;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

describe("schemas by keyword", () => {
  it.each(allCases.map((each, i) => ({ ...each, i, text: JSON.stringify(each.schema).slice(0, 160) })))(
    "$i $text",
    ({ schema, valid = [], invalid = [], strict, i }) => {
      const grammar = compile(schema, strict);
      check(schema, grammar, i, 6);
      const isValid = validator(schema);
      const opened = engine.open(grammar.text);
      for (const value of valid) {
        expect(isValid(value), `ajv on ${JSON.stringify(value)}`).toBe(true);
        expect(
          opened.accepts(textOf(value)),
          `llama.cpp on ${JSON.stringify(value).slice(0, 200)}\n${grammar.text}`,
        ).toBe(true);
        expect(opened.accepts(spaced(value)), `llama.cpp on ${spaced(value).slice(0, 200)}`).toBe(true);
        expect(opened.accepts(JSON.stringify(value, null, 2)), `llama.cpp on it indented\n${grammar.text}`).toBe(true);
      }
      for (const value of invalid) {
        expect(isValid(value), `ajv on ${JSON.stringify(value)}`).toBe(false);
        expect(
          opened.accepts(textOf(value)),
          `llama.cpp on ${JSON.stringify(value).slice(0, 200)}\n${grammar.text}`,
        ).toBe(false);
      }
    },
  );
});

/** As Python writes it: a space after each colon and comma. */
function spaced(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(spaced).join(", ")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  return `{${Object.entries(value)
    .map(([name, member]) => `${JSON.stringify(name)}: ${spaced(member)}`)
    .join(", ")}}`;
}

describe("random schemas", () => {
  const batches = 20;
  const perBatch = 20;
  it.each(Array.from({ length: batches }, (_, batch) => batch))("batch %i", { timeout: 60_000 }, (batch) => {
    let compiled = 0;
    let refused = 0;
    for (let i = 0; i < perBatch; i++) {
      const seed = batch * 1_000 + i;
      const schema = randomSchema(seededRandom(seed));
      let grammar: Grammar;
      try {
        grammar = compile(schema);
      } catch (error) {
        // What can't be held is refused by name, and nothing else may go wrong.
        if (!(error instanceof LoquiError)) throw error;
        expect(error.kind).toBe("invalid_request");
        expect(error.message).toMatch(/^(the schema at #|`schema` is too complex)/);
        continue;
      }
      compiled++;
      refused += check(schema, grammar, seed, 3);
    }
    expect(compiled).toBeGreaterThan(perBatch / 2);
    expect(refused).toBeGreaterThan(perBatch);
  });
});

it("compiles a schema to the same text each time", () => {
  for (const { schema } of allCases) expect(compile(schema).text).toBe(compile(schema).text);
});

it("compiles any object", () => {
  const grammar = compileJsonObject();
  check({ type: "object" }, grammar, 1, 40);
  expect(engine.open(grammar.text).accepts("[]")).toBe(false);
  expect(engine.open(grammar.text).accepts('{"a": [1, {"b": null}], "c": "\\ud83c\\udf89"}')).toBe(true);
  expect(engine.open(grammar.text).accepts('{"a": "\\ud83c"}')).toBe(false);
});

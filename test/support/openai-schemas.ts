import { existsSync, readFileSync } from "node:fs";
import type { ErrorObject } from "ajv";
import { Ajv2020 } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";

/** OpenAI's own schemas, as its specification publishes them. */
export interface OpenAiSchemas {
  /** What is wrong with a value, by the schema of this name; empty where nothing is. */
  errors(schema: string, value: unknown): readonly ErrorObject[];
}

/** Why tests that need {@link openAiSchemas} are skipped. */
export const withoutSchemas = "LOQUI_TEST_OPENAI_SCHEMAS names no file";

/** Reads the file that LOQUI_TEST_OPENAI_SCHEMAS names; undefined where there is none: it is not ours to commit. */
export function openAiSchemas(): OpenAiSchemas | undefined {
  const path = process.env.LOQUI_TEST_OPENAI_SCHEMAS ?? "";
  if (!existsSync(path)) return undefined;
  const ajv = new Ajv2020({ strict: false, allErrors: true });
  addFormats.default(ajv);
  // Unix seconds; the schema says `integer` beside it.
  ajv.addFormat("unixtime", true);
  ajv.addSchema(JSON.parse(readFileSync(path, "utf8")) as object, "openai");
  return {
    errors(schema, value) {
      const validate = ajv.getSchema(`openai#/components/schemas/${schema}`);
      if (validate === undefined) throw new Error(`OpenAI has no schema ${schema}`);
      validate(value);
      return validate.errors ?? [];
    },
  };
}

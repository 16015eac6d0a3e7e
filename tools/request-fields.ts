/**
 * Writes docs/request-fields.md: what becomes of each field of a request, from
 * src/worker/request-fields.ts and the comments of the schema. With `--check`
 * it writes nothing and fails where the file is stale.
 */
import { readFileSync, writeFileSync } from "node:fs";
import type { DescField, DescMessage } from "@bufbuild/protobuf";
import { comments } from "../gen/comments.ts";
import { CreateChatCompletionRequestSchema, CreateCompletionRequestSchema } from "../gen/loqui/v1/chat_pb.ts";
import {
  CreateEmbeddingsRequestSchema,
  EmbedRequestSchema,
  EmbedSparseRequestSchema,
  SimilarityRequestSchema,
} from "../gen/loqui/v1/embedding_pb.ts";
import { RerankRequestSchema, RerankTextsRequestSchema, ScoreRequestSchema } from "../gen/loqui/v1/rerank_pb.ts";
import { jsonPath } from "../src/codec/path.ts";
import { treatmentOf } from "../src/worker/ignored-fields.ts";
import type { Treatment } from "../src/worker/request-fields.ts";

const path = "docs/request-fields.md";
const roots: readonly DescMessage[] = [
  CreateChatCompletionRequestSchema,
  CreateCompletionRequestSchema,
  CreateEmbeddingsRequestSchema,
  EmbedRequestSchema,
  EmbedSparseRequestSchema,
  SimilarityRequestSchema,
  RerankRequestSchema,
  RerankTextsRequestSchema,
  ScoreRequestSchema,
];
const intro = `# What becomes of each field of a request

<!-- Written by tools/request-fields.ts from src/worker/request-fields.ts: \`npm run generate\`. -->

Nothing is silently ignored. Each field of ${roots.map(({ name }) => `\`${name}\``).join(", ")}, and of the messages in them, is one of these for a local model:

- **honoured**: it does what the schema says.
- **refused**: the request fails with a 400 that names the field (\`FAILED_PRECONDITION\` over gRPC). Where values are given, the others are honoured, or ask for nothing.
- **informs**: it tells the server something and asks for nothing.
- **ignored**: it has no effect, and the response's header \`x-loqui-ignored\` (over gRPC and Connect the metadata of that name) says so. With \`x-loqui-strict: 1\`, or \`LOQUI_STRICT=1\`, it is refused.

A model may refuse more by name: \`reasoning_effort\` where it can't think, for example.
`;

const out = [intro, ...pages(roots)].join("\n");
if (process.argv.includes("--check")) {
  if (readFileSync(path, "utf8") !== out) {
    console.error(`${path} is stale, run \`npm run generate\``);
    process.exitCode = 1;
  }
} else {
  writeFileSync(path, out);
}

/** A table for each message, and for those in its honoured fields. */
function pages(roots: readonly DescMessage[]): string[] {
  const seen = new Set<DescMessage>();
  const waiting = [...roots];
  const pages: string[] = [];
  for (let desc = waiting.shift(); desc !== undefined; desc = waiting.shift()) {
    if (seen.has(desc)) continue;
    seen.add(desc);
    const rows = desc.fields.map((field) => {
      const treatment = treatmentOf(field);
      if (treatment === undefined) throw new Error(`src/worker/request-fields.ts has no row for ${field.toString()}`);
      const { kind } = treatment;
      if ((kind === "honoured" || kind === "shown") && field.message !== undefined) waiting.push(field.message);
      return `| ${cells(field, treatment).join(" | ")} |`;
    });
    // What only stands in for its one field has nothing to say.
    if (rows.length === 0 || desc.fields.every((field) => jsonPath([field]) === "")) continue;
    pages.push(`## ${desc.name}\n\n| field | | what it is |\n| --- | --- | --- |\n${rows.join("\n")}\n`);
  }
  return pages;
}

function cells(field: DescField, treatment: Treatment): string[] {
  const comment = comments.get(`${field.parent.typeName}.${field.name}`) ?? "";
  const sentence = /^.*?\.(?=\s|$)/s.exec(comment)?.[0] ?? comment;
  const name = jsonPath([field]) || field.name;
  const shown = name === field.name || treatment.kind === "members" ? name : `${name} (${field.name})`;
  return [`\`${shown}\``, wordsOf(treatment), sentence.replaceAll("\n", " ").replaceAll("|", "\\|")];
}

function wordsOf(treatment: Treatment): string {
  switch (treatment.kind) {
    case "honoured":
      return "honoured";
    case "variables":
      return "honoured where the model's template names the variable, else ignored, each by its name";
    case "shown":
      return "honoured where the model's template shows it, else ignored";
    case "refused":
      return treatment.what === undefined ? "refused" : `refused: ${treatment.what}`;
    case "members":
      return "ignored, each by its name";
    case "informs":
    case "ignored":
      return treatment.kind;
    default:
      return treatment satisfies never;
  }
}

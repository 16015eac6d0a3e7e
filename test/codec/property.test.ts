import { type DescFile, type DescMessage, equals, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, test } from "vitest";
import { file_loqui_v1_chat } from "../../gen/loqui/v1/chat_pb.ts";
import { file_loqui_v1_embedding } from "../../gen/loqui/v1/embedding_pb.ts";
import { file_loqui_v1_model } from "../../gen/loqui/v1/model_pb.ts";
import { file_loqui_v1_rerank } from "../../gen/loqui/v1/rerank_pb.ts";
import { file_loqui_v1_speech } from "../../gen/loqui/v1/speech_pb.ts";
import { componentName, componentSchemas, jsonCodec } from "../../src/codec/codec.ts";
import { parseJson } from "../../src/codec/json-source.ts";
import { file_codec_test } from "./gen/codec_test_pb.ts";
import { randomMessage, seededRandom } from "./random-message.ts";

const rounds = 20;

describe.each<[string, DescFile]>([
  ["the test schema", file_codec_test],
  ["chat", file_loqui_v1_chat],
  ["embeddings", file_loqui_v1_embedding],
  ["models", file_loqui_v1_model],
  ["reranking", file_loqui_v1_rerank],
  ["speech", file_loqui_v1_speech],
])("random messages of %s", (_, file) => {
  const descs = file.messages.filter((desc) => desc.name !== "Bad" && hasJson(desc));
  const schemas = componentSchemas(descs, "response");
  const ajv = new Ajv2020({ strict: true, allowUnionTypes: true, ownProperties: true, keywords: ["components"] });
  ajv.addSchema({ $id: "test:document", components: { schemas } });

  test.each(descs.map((desc) => [desc.name, desc] as const))("%s", (_, desc) => {
    const codec = jsonCodec(desc);
    const validate = ajv.compile({ $ref: `test:document#/components/schemas/${componentName(desc, "response")}` });
    const random = seededRandom(hash(desc.typeName));
    for (let round = 0; round < rounds; round++) {
      const message = randomMessage(desc, random);
      const json = codec.encode(message);
      const { message: decoded } = codec.decode(parseJson(json), "lenient");
      if (!equals(desc, decoded, message)) expect(decoded, json).toEqual(message);
      if (!validate(JSON.parse(json))) expect(validate.errors, json).toBeNull();
      expect(codec.encode(decoded)).toBe(json);
      expect(codec.encode(fromBinary(desc, toBinary(desc, message)))).toBe(json);
    }
  });
});

/** A message that can only be raw bytes has none. */
function hasJson(desc: DescMessage): boolean {
  const [only] = desc.fields;
  return !(desc.fields.length === 1 && only?.message?.typeName === "google.api.HttpBody");
}

function hash(text: string): number {
  return [...text].reduce((sum, char) => (Math.imul(sum, 31) + (char.codePointAt(0) ?? 0)) | 0, 7);
}

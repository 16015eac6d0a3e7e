import { buildPath, parsePath } from "@bufbuild/protobuf/reflect";
import { expect, test } from "vitest";
import { jsonPath } from "../../src/codec/codec.ts";
import {
  AdjacentSchema,
  DocumentsSchema,
  InlineSchema,
  MapsSchema,
  SeparateSchema,
  UntaggedSchema,
} from "./gen/codec_test_pb.ts";

test("a key that is a number", () => {
  expect(jsonPath(buildPath(MapsSchema).field(MapsSchema.field.byUint).map(5).toPath())).toBe("by_uint.5");
});

test.each([
  [DocumentsSchema, "documents[1].text", "documents[1].text"],
  [DocumentsSchema, "nested[2].lists[1].values[0]", "nested[2][1][0]"],
  [DocumentsSchema, "words.values", "words"],
  [DocumentsSchema, "choices[0].point.x", "choices[0].x"],
  [DocumentsSchema, "choices[0].choice", "choices[0]"],
  [DocumentsSchema, "extra", ""],
  [DocumentsSchema, "document.others", "document"],
  [UntaggedSchema, "texts.values[1]", "input[1]"],
  [UntaggedSchema, "input", "input"],
  [UntaggedSchema, "text", "input"],
  [InlineSchema, "circle.labels[0]", "labels[0]"],
  [InlineSchema, "shape", "type"],
  [AdjacentSchema, "image_url.point.y", "image_url.y"],
  [AdjacentSchema, "part", "type"],
  [SeparateSchema, "value", "value"],
  [SeparateSchema, "point.x", "point.x"],
  [MapsSchema, 'strings["a b"]', 'strings["a b"]'],
  [MapsSchema, 'strings["a-b"]', "strings.a-b"],
  [MapsSchema, 'messages["x"].color', "messages.x.color"],
])("%s %s", (desc, path, expected) => {
  expect(jsonPath(parsePath(desc, path))).toBe(expected);
});

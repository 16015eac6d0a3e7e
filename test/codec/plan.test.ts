import type { DescMessage } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { jsonCodec } from "../../src/codec/codec.ts";
import { file_codec_test } from "./gen/codec_test_pb.ts";

const bad = file_codec_test.messages.find(({ name }) => name === "Bad")?.nestedMessages ?? [];

/** What is refused, and why; the name of the message says what is wrong with it. */
const refusals: Record<string, string> = {
  SameKind: "Bad.SameKind.value: ambiguous: text and color have the same form in JSON (string)",
  SameElements: "Bad.SameElements.value: ambiguous: texts and names have the same form in JSON (array of string)",
  TwoObjects: "Bad.TwoObjects.value: ambiguous: point and circle have the same form in JSON (object)",
  SameHas: 'Bad.SameHas.circle: has "x" stands for two members',
  HasOnText: "Bad.HasOnText.text: has is for members that are objects in JSON",
  Endless:
    "Bad.Endless.value: ambiguous: a and b have the same form in JSON (array of array of array of array of array of array of array of array of array)",
  NoTag: "Bad.NoTag.value: a tagged style needs a tag",
  TagOfNothing: "Bad.TagOfNothing.value: tag and default_tag belong to a tagged style",
  SameTag: 'Bad.SameTag.circle: tag_value "point" stands for two members',
  WrongDefault: 'Bad.WrongDefault.value: default_tag "square" is none of point',
  TwoTagged: "Bad.TwoTagged.other: a message can have one tagged oneof",
  InlineText: "Bad.InlineText.text: an inline member must be a message",
  InlineList: "Bad.InlineList.texts: an inline member must be an object",
  InlineTwice: "Bad.InlineTwice.inner: an inline member can't have a tagged oneof itself",
  InlineClash: "Point.x: the JSON member x is InlineClash.x already",
  TagClash: "Bad.TagClash.value: the JSON member type is TagClash.type already",
  AliasClash: "Bad.AliasClash.b: the JSON member b is AliasClash.a already",
  FlattenTwo: "Bad.FlattenTwo.a: flatten is for the only field of a message",
  FlattenTagged: "Bad.FlattenTagged.value: flatten is for an untagged oneof that is all its message has",
  FlattenAlias: "Bad.FlattenAlias.a: a flattened field is no member: nothing else about a member holds for it",
  RawNumber: "Bad.RawNumber.a: raw_json and unknown_members are for strings",
  NumberText: "Bad.NumberText.a: number is for 64-bit integers",
  OneOrListOfOne: "Bad.OneOrListOfOne.a: one_or_list is for repeated fields",
  OneOrListOfLists: "Bad.OneOrListOfLists.a: one_or_list: an element can be an array itself",
  EmitOptional: "Bad.EmitOptional.a: emit_empty is for fields without presence: this one is absent or printed",
  EmitAndNull: "Bad.EmitAndNull.a: emit_empty and null_when_absent exclude each other",
  EmitUnnamed: "Bad.EmitUnnamed.a: emit_empty needs a json_value of the zero value of Color",
  EmitNoAliases: "Bad.EmitNoAliases.a: emit_aliases without aliases",
  TwoRests: "Bad.TwoRests.b: a second unknown_members in one JSON object",
  OpenField: "Bad.OpenField.a: open belongs to unknown_members",
  TagValueAlone: "Bad.TagValueAlone.a: tag_value and has belong to members of oneofs",
  HasAlone: "Bad.HasAlone.a: tag_value and has belong to members of oneofs",
  AliasInUnion: "Bad.AliasInUnion.text: aliases and null_when_absent need a member of the field's own",
  Time: "google.protobuf.Timestamp: of the well-known types only google.protobuf.Empty has JSON here",
  Body: "Bad.Body.body: google.api.HttpBody stands only in a flattened oneof: it is never JSON",
  SameName: 'Bad.SameName.Twice: json_value "a" stands for two values',
};

function refusal(desc: DescMessage): string {
  try {
    jsonCodec(desc);
  } catch (error) {
    return `${error}`.replaceAll("loqui.codectest.v1.", "").replace("SchemaError: ", "");
  }
  return "";
}

describe("a schema that contradicts itself", () => {
  test.each(Object.entries(refusals))("%s", (name, message) => {
    expect(bad.filter((desc) => desc.name === name).map(refusal)).toEqual([message]);
  });

  test("is in the table, or fine by itself", () => {
    expect(bad.map(({ name }) => name).filter((name) => !(name in refusals))).toEqual(["Names", "Deep"]);
  });

  test("is refused each time, not only the first", () => {
    for (const desc of bad) expect(refusal(desc)).toBe(refusal(desc));
  });
});

import { expect, test } from "vitest";
import { parsePathTemplate } from "../../src/rest/path-template.ts";

const literal = (text: string) => ({ kind: "literal", text });
const single = { kind: "*" };
const rest = { kind: "**" };

test.each([
  ["/v1/models", { segments: [literal("v1"), literal("models")], variables: [], verb: undefined }],
  [
    "/v1/models/{model=**}:load",
    {
      segments: [literal("v1"), literal("models"), rest],
      variables: [{ fieldPath: "model", start: 2, end: undefined }],
      verb: "load",
    },
  ],
  ["/v1/models:validate", { segments: [literal("v1"), literal("models")], variables: [], verb: "validate" }],
  ["/{a}", { segments: [single], variables: [{ fieldPath: "a", start: 0, end: 1 }], verb: undefined }],
  [
    "/v1/{book.name=shelves/*/books/*}/pages/{page}",
    {
      segments: [literal("v1"), literal("shelves"), single, literal("books"), single, literal("pages"), single],
      variables: [
        { fieldPath: "book.name", start: 1, end: 5 },
        { fieldPath: "page", start: 6, end: 7 },
      ],
      verb: undefined,
    },
  ],
  [
    "/files/{path=public/**}",
    {
      segments: [literal("files"), literal("public"), rest],
      variables: [{ fieldPath: "path", start: 1, end: undefined }],
      verb: undefined,
    },
  ],
  ["/a/*/**", { segments: [literal("a"), single, rest], variables: [], verb: undefined }],
  ["/a%20b", { segments: [literal("a b")], variables: [], verb: undefined }],
])("%s", (source, expected) => {
  expect(parsePathTemplate(source)).toEqual({ source, ...expected });
});

test.each([
  ["", "position 0: expected /"],
  ["v1", "position 0: expected /"],
  ["/", "position 1: expected a literal, *, ** or a variable"],
  ["/v1/", "position 4: expected a literal, *, ** or a variable"],
  ["/v1//models", "position 4: expected a literal, *, ** or a variable"],
  ["/**/a", "position 4: nothing may follow ** but a verb"],
  ["/{a=**}/b", "position 8: nothing may follow ** but a verb"],
  ["/{a=**/b}", "position 7: nothing may follow ** but a verb"],
  ["/{a=b/{c}}", "position 6: a variable may not contain another one"],
  ["/{a}/{a}", "position 6: variable a is given twice"],
  ["/{}", "position 2: expected a field path"],
  ["/{1a}", "position 2: expected a field path"],
  ["/{a.}", "position 3: expected }"],
  ["/{a=}", "position 4: expected a literal, *, ** or a variable"],
  ["/{a", "position 3: expected }"],
  ["/a:", "position 3: expected a verb"],
  ["/a:b:c", "position 4: unexpected :"],
  ["/a:b/c", "position 4: unexpected /"],
  ["/a{b}", "position 2: unexpected {"],
  ["/a?b", "position 2: unexpected ?"],
  ["/a b", "position 2: unexpected  "],
  ["/%zz", "position 1: expected a literal, *, ** or a variable"],
  ["/%ff", "position 1: percent-encoding that is not UTF-8"],
])("refuses %s", (source, message) => {
  expect(() => parsePathTemplate(source)).toThrow(new Error(`path template ${JSON.stringify(source)}, ${message}`));
});

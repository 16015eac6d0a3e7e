/** A schema with values that its grammar must allow and values that are not valid for it. */
export interface SchemaCase {
  readonly schema: unknown;
  readonly valid?: readonly unknown[];
  readonly invalid?: readonly unknown[];
  readonly strict?: boolean;
}

const person = { type: "object", properties: { name: { type: "string" } }, required: ["name"] };
const closed = (properties: Record<string, unknown>, required = Object.keys(properties)) => ({
  type: "object",
  properties,
  required,
  additionalProperties: false,
});

export const types: readonly SchemaCase[] = [
  { schema: true, valid: [null, 1, "a", [], {}, { a: [1, { b: null }] }] },
  { schema: {}, valid: [null, -1.5e3, "é\n", [[]], { "": true }] },
  { schema: { type: "null" }, valid: [null], invalid: [0, false, "", [], {}] },
  { schema: { type: "boolean" }, valid: [true, false], invalid: [null, 0, "true"] },
  {
    schema: { type: "integer" },
    valid: [0, -1, 7, 1234567890123456, -9007199254740991],
    invalid: [1.5, "1", null, true, []],
  },
  { schema: { type: "number" }, valid: [0, -0.5, 1e21, 3.25, 2e-7], invalid: ["1", null, false, []] },
  {
    schema: { type: "string" },
    valid: ["", "a", '"', "\\", "\n\t\u0001", "naïve 日本 🎉", "/", "\u007f", "\u2028"],
    invalid: [null, 1, []],
  },
  { schema: { type: "array" }, valid: [[], [1], [[], {}, "x"]], invalid: [{}, null, "[]"] },
  { schema: { type: "object" }, valid: [{}, { a: 1 }, { a: { b: [] }, c: null }], invalid: [[], null, "{}"] },
  { schema: { type: ["string", "null"] }, valid: ["a", null], invalid: [1, [], {}] },
  { schema: { type: ["integer", "string"] }, valid: [1, "a"], invalid: [1.5, null] },
  { schema: { type: ["integer", "number"] }, valid: [1, 1.5], invalid: ["a"] },
  { schema: { type: ["object", "array"] }, valid: [{}, []], invalid: [1, "a", null] },
  { schema: { type: ["integer", "string", "null", "boolean", "array", "object"] }, valid: [1, "a"], invalid: [1.5] },
  { schema: { type: "string", nullable: true }, valid: ["a", null], invalid: [1] },
  { schema: { type: "string", nullable: false }, valid: ["a"], invalid: [null] },
  { schema: { type: "object", nullable: true, properties: { a: { type: "null" } } }, valid: [null, { a: null }] },
  { schema: { description: "anything", title: "t", default: 3, examples: [1] }, valid: [1, null] },
  { schema: { not: false }, valid: [1, {}] },
];

export const values: readonly SchemaCase[] = [
  { schema: { const: "a" }, valid: ["a"], invalid: ["b", "", "aa", null, ["a"]] },
  { schema: { const: null }, valid: [null], invalid: [0, "null"] },
  { schema: { const: 12.5 }, valid: [12.5], invalid: [12, 13, "12.5"] },
  { schema: { const: false }, valid: [false], invalid: [true, 0] },
  { schema: { const: 'quote " back \\ line \n é 🎉' }, valid: ['quote " back \\ line \n é 🎉'], invalid: ["quote"] },
  {
    schema: { const: [1, "a", { b: null }] },
    valid: [[1, "a", { b: null }]],
    invalid: [
      [1, "a"],
      [1, "a", {}],
    ],
  },
  { schema: { const: { a: 1, b: [] } }, valid: [{ a: 1, b: [] }], invalid: [{ a: 1 }, { a: 1, b: [], c: 2 }] },
  { schema: { const: {} }, valid: [{}], invalid: [{ a: 1 }, []] },
  { schema: { const: [] }, valid: [[]], invalid: [[1], {}] },
  {
    schema: { enum: ["red", "green", "grey", "gre"] },
    valid: ["red", "green", "grey", "gre"],
    invalid: ["gr", "re", "greens", 1],
  },
  { schema: { enum: ["", "a", "aa", "aaa"] }, valid: ["", "a", "aa", "aaa"], invalid: ["aaaa", "b"] },
  {
    schema: { enum: [1, 10, 100, "1", null, true] },
    valid: [1, 10, 100, "1", null, true],
    invalid: [1000, false, "10"],
  },
  { schema: { enum: [{ a: 1 }, [1], 1] }, valid: [{ a: 1 }, [1], 1], invalid: [{ a: 2 }, [], [1, 1]] },
  { schema: { type: "string", enum: ["a", 1, null] }, valid: ["a"], invalid: [1, null, "b"] },
  { schema: { type: ["string", "null"], enum: ["a", null] }, valid: ["a", null], invalid: ["null"] },
  { schema: { type: "integer", enum: [1, 2.5, 3], minimum: 2 }, valid: [3], invalid: [1, 2.5, 2] },
  { schema: { enum: ["ab", "abc", "b"], minLength: 2, maxLength: 2 }, valid: ["ab"], invalid: ["abc", "b"] },
  { schema: { enum: ["ab", "cd"], pattern: "^a" }, valid: ["ab"], invalid: ["cd"] },
  { schema: { enum: ["a", "b"], const: "b" }, valid: ["b"], invalid: ["a"] },
  { schema: { enum: [[1], [1, 2], [1, 1]], uniqueItems: true, minItems: 2 }, valid: [[1, 2]], invalid: [[1], [1, 1]] },
  { schema: { enum: [{ a: 1 }, { b: 1 }], required: ["a"] }, valid: [{ a: 1 }], invalid: [{ b: 1 }] },
  { schema: { enum: [6, 7, 9], multipleOf: 3 }, valid: [6, 9], invalid: [7] },
  { schema: { allOf: [{ enum: [1, 2, 3] }, { enum: [2, 3, 4] }, { const: 3 }] }, valid: [3], invalid: [1, 2, 4] },
  { schema: { enum: ["2024-02-29", "2023-02-29"], format: "date" }, valid: ["2024-02-29"], invalid: ["2023-02-29"] },
  {
    schema: { enum: Array.from({ length: 300 }, (_, i) => `item-${i}`) },
    valid: ["item-0", "item-299"],
    invalid: ["item-300", "item-"],
  },
];

export const strings: readonly SchemaCase[] = [
  { schema: { type: "string", minLength: 2 }, valid: ["ab", "🎉🎉", "\n\n", "abcdef"], invalid: ["", "a", "🎉"] },
  { schema: { type: "string", maxLength: 2 }, valid: ["", "a", "🎉🎉", "\\\\"], invalid: ["abc", "🎉🎉🎉"] },
  { schema: { type: "string", minLength: 3, maxLength: 3 }, valid: ["abc", '"""'], invalid: ["ab", "abcd"] },
  { schema: { type: "string", maxLength: 0 }, valid: [""], invalid: ["a"] },
  {
    schema: { type: "string", minLength: 100, maxLength: 120 },
    valid: ["x".repeat(100), "x".repeat(120)],
    invalid: ["x".repeat(99), "x".repeat(121)],
  },
  { schema: { type: "string", maxLength: 5000 }, valid: ["x".repeat(5000)], invalid: ["x".repeat(5001)] },
  {
    schema: { type: "string", minLength: 2500 },
    valid: ["x".repeat(2500), "x".repeat(2600)],
    invalid: ["x".repeat(2499)],
  },
  { schema: { type: "string", pattern: "^[a-z]+$" }, valid: ["a", "xyz"], invalid: ["", "A", "a1", "a\n"] },
  { schema: { type: "string", pattern: "b" }, valid: ["b", "abc", '"b\n', "🎉b"], invalid: ["", "ac"] },
  { schema: { type: "string", pattern: "^a" }, valid: ["a", "ab\n"], invalid: ["", "ba"] },
  { schema: { type: "string", pattern: "a$" }, valid: ["a", "ba"], invalid: ["ab", ""] },
  { schema: { type: "string", pattern: "" }, valid: ["", "x"], invalid: [1] },
  { schema: { type: "string", pattern: "^$" }, valid: [""], invalid: ["a"] },
  { schema: { type: "string", pattern: "^a|b$" }, valid: ["ax", "xb", "a"], invalid: ["xa", "bx"] },
  { schema: { type: "string", pattern: "^(?:a|(?<x>b))c*?$" }, valid: ["a", "bcc"], invalid: ["ab", "c"] },
  { schema: { type: "string", pattern: "(^a|^b)(c$|d$)" }, valid: ["ac", "bd"], invalid: ["xac", "acx", "ab"] },
  { schema: { type: "string", pattern: "^\\d{3}-\\d{4}$" }, valid: ["555-1234"], invalid: ["5555-123", "555-12345"] },
  {
    schema: { type: "string", pattern: "^\\w+\\s\\w+$" },
    valid: ["a b", "a_1\tb", "a\u00a0b"],
    invalid: ["ab", "a  b", "é b"],
  },
  { schema: { type: "string", pattern: "^\\W\\S\\D$" }, valid: ["-ax", "éaé"], invalid: ["aax", "- x", "-a1"] },
  {
    schema: { type: "string", pattern: "^.$" },
    valid: ["a", '"', "\\", "\t", "🎉", "\u0000"],
    invalid: ["", "\n", "\r", "\u2028", "ab"],
  },
  { schema: { type: "string", pattern: "^[^a-c]$" }, valid: ["d", "\n", '"', "🎉"], invalid: ["a", "c", ""] },
  {
    schema: { type: "string", pattern: '^["\\\\/\\n\\x00\\x1f]+$' },
    valid: ['"', "\\", "/", "\n", "\u0000\u001f"],
    invalid: ["n", "", "\t"],
  },
  { schema: { type: "string", pattern: "^\\u00e9\\u{1F389}\\x41$" }, valid: ["é🎉A"], invalid: ["éA"] },
  { schema: { type: "string", pattern: "^[\\uD83C\\uDF89]$" }, valid: ["🎉"], invalid: ["x"] },
  {
    schema: { type: "string", pattern: "^[\\w\\-.]+@[\\w-]+\\.[a-z]{2,}$" },
    valid: ["a.b-c@d-e.fr"],
    invalid: ["a@b.c", "@b.cd"],
  },
  {
    schema: { type: "string", pattern: "^(a?){5}a{5}$" },
    valid: ["aaaaa", "aaaaaaaaaa"],
    invalid: ["aaaa", "aaaaaaaaaaa"],
  },
  { schema: { type: "string", pattern: "^(a*)*b?$" }, valid: ["", "aab"], invalid: ["ba"] },
  { schema: { type: "string", pattern: "^[^]$" }, valid: ["\n", "a"], invalid: [""] },
  {
    schema: { type: "string", pattern: "^a{0}b{2}c{1,}d{0,2}$" },
    valid: ["bbc", "bbcccdd"],
    invalid: ["abbc", "bc", "bbcddd"],
  },
  {
    schema: { type: "string", pattern: "^\\^\\$\\.\\*\\(\\)\\[\\]\\{\\}\\|\\?\\+\\/$" },
    valid: ["^$.*()[]{}|?+/"],
    invalid: ["^"],
  },
  { schema: { type: "string", pattern: "^\\cJ\\t[\\b]$" }, valid: ["\n\t\b"], invalid: ["\n\tb"] },
  { schema: { type: "string", pattern: "^[A-Z]{2}$", minLength: 2 }, valid: ["AB"], invalid: ["A"] },
  {
    schema: { type: "string", pattern: "^[ab]*$", minLength: 3, maxLength: 4 },
    valid: ["aba", "bbbb"],
    invalid: ["ab", "ababa"],
  },
  { schema: { type: "string", pattern: "x", maxLength: 2 }, valid: ["x", "ax", "xa"], invalid: ["aax", "aa"] },
  {
    schema: { allOf: [{ type: "string", pattern: "^a" }, { pattern: "b$" }] },
    valid: ["ab", "axb"],
    invalid: ["a", "b"],
  },
  {
    schema: { type: "string", format: "date" },
    valid: ["2024-02-29", "1999-12-31", "2000-02-29"],
    invalid: ["2023-02-29", "1900-02-29", "2024-13-01", "2024-04-31", "2024-1-1"],
  },
  {
    schema: { type: "string", format: "time" },
    valid: ["23:59:59Z", "00:00:00.123+05:30"],
    invalid: ["24:00:00Z", "12:00Z", "12:00:00"],
  },
  {
    schema: { type: "string", format: "date-time" },
    valid: ["2024-02-29T12:00:00Z", "2024-01-01T00:00:00.5-08:00"],
    invalid: ["2024-02-30T12:00:00Z", "2024-02-29", "2024-02-29T12:00:00"],
  },
  {
    schema: { type: "string", format: "duration" },
    valid: ["P1Y2M3DT4H5M6S", "PT1H", "P3W", "P1D", "P1YT1S"],
    invalid: ["P", "PT", "P1S", "1D"],
  },
  {
    schema: { type: "string", format: "uuid" },
    valid: ["123e4567-e89b-12d3-a456-426614174000"],
    invalid: ["123e4567", "123e4567-e89b-12d3-a456-42661417400g"],
  },
  {
    schema: { type: "string", format: "email" },
    valid: ["joe.bloggs+x@example.com"],
    invalid: ["joe", "joe@", "@example.com", "joe@example..com"],
  },
  { schema: { type: "string", format: "hostname" }, valid: ["example.com", "a-b.c"], invalid: ["-a", "a_b", ""] },
  {
    schema: { type: "string", format: "ipv4" },
    valid: ["0.0.0.0", "255.255.255.255", "192.168.1.10"],
    invalid: ["256.1.1.1", "1.1.1", "01.1.1.1"],
  },
  {
    schema: { type: "string", format: "ipv6" },
    valid: ["::", "::1", "2001:db8::8a2e:370:7334", "1:2:3:4:5:6:7:8", "::ffff:1.2.3.4", "1::8", "1:2:3:4:5:6:7::"],
    invalid: ["1", "1:2:3:4:5:6:7:8:9", "::1::", ":1"],
  },
  {
    schema: { type: "string", format: "uri" },
    valid: ["https://example.com/a?b=c#d", "mailto:joe@example.com", "urn:a:b", "http://a@b:80/%20"],
    invalid: ["/a", "example.com", "http://a b"],
  },
  {
    schema: { type: "string", format: "uri-reference" },
    valid: ["/a/b", "a", "#x", "", "//host/p", "https://a.b/c"],
    invalid: ["a b", "%zz"],
  },
  { schema: { type: "string", format: "json-pointer" }, valid: ["", "/a/~0b/~1"], invalid: ["a", "/~2"] },
  { schema: { type: "string", format: "relative-json-pointer" }, valid: ["0", "1/a", "2#"], invalid: ["/a", "01"] },
  {
    schema: { type: "string", format: "byte" },
    valid: ["", "YQ==", "YWI=", "YWJj"],
    invalid: ["Y", "YQ=", "YQ==" + "x"],
  },
  { schema: { type: "string", format: "password" }, valid: ["x"], invalid: [1] },
  { schema: { type: "string", format: "binary" }, valid: ["x"], invalid: [1] },
  {
    schema: { type: "string", format: "date", pattern: "^2024-" },
    valid: ["2024-02-29"],
    invalid: ["2023-01-01", "2024-02-30"],
  },
  { schema: { type: "string", format: "email", maxLength: 8 }, valid: ["a@b.cd"], invalid: ["joe@example.com"] },
  { schema: { format: "date" }, valid: ["2024-01-01"], invalid: ["x"] },
];

export const numbers: readonly SchemaCase[] = [
  { schema: { type: "integer", minimum: 0 }, valid: [0, 5, 100000], invalid: [-1, -100] },
  { schema: { type: "integer", minimum: 1, maximum: 10 }, valid: [1, 5, 10], invalid: [0, 11, -1, 100] },
  { schema: { type: "integer", exclusiveMinimum: 1, exclusiveMaximum: 10 }, valid: [2, 9], invalid: [1, 10] },
  { schema: { type: "integer", minimum: -5, maximum: 5 }, valid: [-5, -1, 0, 5], invalid: [-6, 6, -10] },
  {
    schema: { type: "integer", minimum: -120, maximum: -15 },
    valid: [-120, -15, -99, -100],
    invalid: [-121, -14, 15, 0],
  },
  { schema: { type: "integer", maximum: -1 }, valid: [-1, -99999], invalid: [0, 1] },
  {
    schema: { type: "integer", minimum: 17, maximum: 1234 },
    valid: [17, 99, 100, 999, 1000, 1234],
    invalid: [16, 1235, 9, 1300, 2000],
  },
  { schema: { type: "integer", minimum: 1.5, maximum: 3.5 }, valid: [2, 3], invalid: [1, 4] },
  { schema: { type: "integer", minimum: 100, maximum: 100 }, valid: [100], invalid: [99, 101, 10, 1000] },
  { schema: { type: "integer", minimum: 0, exclusiveMinimum: 3 }, valid: [4], invalid: [3] },
  {
    schema: { type: "integer", minimum: -9007199254740991, maximum: 9007199254740991 },
    valid: [9007199254740991, -9007199254740991, 0],
    invalid: [9007199254740992],
  },
  { schema: { type: "integer", multipleOf: 5 }, valid: [0, 5, -10, 100], invalid: [1, 12] },
  {
    schema: { type: "integer", multipleOf: 10, minimum: 10, maximum: 200 },
    valid: [10, 50, 200],
    invalid: [0, 15, 210],
  },
  { schema: { type: "integer", multipleOf: 7, minimum: 20 }, valid: [21, 700], invalid: [14, 22] },
  { schema: { type: "integer", multipleOf: 1 }, valid: [3], invalid: [1.5] },
  { schema: { type: "integer", multipleOf: 2.5 }, valid: [5, 10], invalid: [2, 3] },
  { schema: { type: "integer", multipleOf: 0.5 }, valid: [1, 2], invalid: [0.5] },
  { schema: { allOf: [{ type: "integer", multipleOf: 4 }, { multipleOf: 6 }] }, valid: [12, 24], invalid: [4, 6, 18] },
  { schema: { type: "number", multipleOf: 0.01 }, valid: [0.01, 12.34, 5, -1.5], invalid: [0.001, 1.234] },
  { schema: { type: "number", multipleOf: 0.25 }, valid: [0.25, 1.5, -3], invalid: [0.3, 0.125] },
  { schema: { type: "number", multipleOf: 1 }, valid: [1, -2], invalid: [1.5] },
  { schema: { type: "number", minimum: 0 }, valid: [0, 0.5, 12.25], invalid: [-0.1, -1] },
  { schema: { type: "number", minimum: 0, maximum: 1 }, valid: [0, 0.5, 1, 0.001], invalid: [1.1, -0.5, 2, 1.001] },
  { schema: { type: "number", exclusiveMinimum: 0 }, valid: [0.1, 3], invalid: [0, -1] },
  { schema: { type: "number", exclusiveMinimum: 0, exclusiveMaximum: 1 }, valid: [0.5, 0.999], invalid: [0, 1] },
  {
    schema: { type: "number", minimum: -90, maximum: 90 },
    valid: [-90, 90, -89.999, 45.5],
    invalid: [-90.1, 90.001, 100],
  },
  {
    schema: { type: "number", minimum: -2.75, maximum: -0.125 },
    valid: [-2.75, -1, -0.125],
    invalid: [-2.76, -0.12, 0, 1],
  },
  { schema: { type: "number", minimum: 0.1, maximum: 0.3 }, valid: [0.1, 0.2, 0.3], invalid: [0.09, 0.31] },
  { schema: { type: "number", minimum: 1e2, maximum: 1.5e3 }, valid: [100, 1500], invalid: [99, 1501] },
  { schema: { type: "number", maximum: 1e300 }, valid: [12, -5], invalid: [] },
  { schema: { type: "number", minimum: 0, multipleOf: 0.5, maximum: 5 }, valid: [0.5, 5], invalid: [0.25, 5.5] },
  {
    schema: { type: "integer", format: "int32" },
    valid: [2147483647, -2147483648],
    invalid: [2147483648, -2147483649],
  },
  { schema: { type: "integer", format: "int64" }, valid: [0, 42], invalid: [1.5] },
  { schema: { type: "number", format: "double" }, valid: [1.5], invalid: ["1.5"] },
  { schema: { type: "number", format: "float", minimum: 0 }, valid: [1.5], invalid: [-1] },
  {
    schema: { allOf: [{ minimum: 1, type: "integer" }, { maximum: 9 }, { minimum: 3 }] },
    valid: [3, 9],
    invalid: [2, 10],
  },
  { schema: { type: ["integer", "null"], minimum: 1 }, valid: [1, null], invalid: [0] },
  { schema: { minimum: 3 }, valid: [3, 4.5], invalid: [2] },
];

export const arrays: readonly SchemaCase[] = [
  {
    schema: { type: "array", items: { type: "integer" } },
    valid: [[], [1], [1, 2, 3]],
    invalid: [["a"], [1, null], {}],
  },
  {
    schema: { type: "array", items: { type: "integer" }, minItems: 2 },
    valid: [
      [1, 2],
      [1, 2, 3],
    ],
    invalid: [[], [1]],
  },
  {
    schema: { type: "array", items: { type: "integer" }, maxItems: 2 },
    valid: [[], [1], [1, 2]],
    invalid: [[1, 2, 3]],
  },
  {
    schema: { type: "array", items: { type: "integer" }, minItems: 2, maxItems: 3 },
    valid: [
      [1, 2],
      [1, 2, 3],
    ],
    invalid: [[1], [1, 2, 3, 4]],
  },
  {
    schema: { type: "array", items: { type: "integer" }, minItems: 1, maxItems: 1 },
    valid: [[1]],
    invalid: [[], [1, 2]],
  },
  { schema: { type: "array", maxItems: 0 }, valid: [[]], invalid: [[1]] },
  { schema: { type: "array", items: false }, valid: [[]], invalid: [[1]] },
  { schema: { type: "array", items: true }, valid: [[], [1, "a"]], invalid: [{}] },
  {
    schema: { type: "array", items: {}, minItems: 100, maxItems: 130 },
    valid: [Array(100).fill(1), Array(130).fill(1)],
    invalid: [Array(99).fill(1), Array(131).fill(1)],
  },
  {
    schema: { type: "array", items: { const: 1 }, minItems: 2100 },
    valid: [Array(2100).fill(1)],
    invalid: [Array(2099).fill(1)],
  },
  {
    schema: { type: "array", prefixItems: [{ type: "string" }, { type: "integer" }] },
    valid: [["a", 1]],
    invalid: [
      [1, "a"],
      ["a", "b"],
    ],
  },
  {
    schema: { type: "array", prefixItems: [{ type: "string" }, { type: "integer" }], items: false },
    valid: [["a", 1]],
    invalid: [["a", 1, 2]],
  },
  {
    schema: { type: "array", prefixItems: [{ type: "string" }], items: { type: "integer" } },
    valid: [["a"], ["a", 1, 2]],
    invalid: [["a", "b"], [1]],
  },
  {
    schema: { type: "array", prefixItems: [{ type: "string" }, { type: "integer" }], items: false, minItems: 1 },
    valid: [["a"], ["a", 1]],
    invalid: [[], ["a", 1, 2]],
  },
  {
    schema: { type: "array", prefixItems: [{ const: 1 }, { const: 2 }], minItems: 3, maxItems: 4 },
    valid: [[1, 2, "x"]],
    invalid: [
      [1, 2],
      [1, 3, 3],
    ],
  },
  {
    schema: { type: "array", prefixItems: [{ const: 1 }, { const: 2 }, { const: 3 }], maxItems: 2 },
    valid: [[1, 2]],
    invalid: [[1, 2, 3]],
  },
  { schema: { type: "array", prefixItems: [true, false], minItems: 0 }, valid: [[], [1]], invalid: [[1, 2]] },
  {
    schema: { type: "array", items: { enum: ["a", "b", "c"] }, uniqueItems: true },
    valid: [[], ["b", "a"], ["c", "b", "a"]],
    invalid: [["a", "a"], ["d"]],
  },
  {
    schema: { type: "array", items: { enum: ["a", "b", "c"] }, uniqueItems: true, minItems: 2, maxItems: 2 },
    valid: [["b", "a"]],
    invalid: [["a"], ["a", "b", "c"], ["a", "a"]],
  },
  {
    schema: { type: "array", items: { type: "boolean" }, uniqueItems: true, minItems: 1 },
    valid: [[true], [false, true]],
    invalid: [[], [true, true]],
  },
  {
    schema: { type: "array", items: { type: "string" }, uniqueItems: true, maxItems: 1 },
    valid: [[], ["x"]],
    invalid: [["x", "y"]],
  },
  { schema: { type: "array", items: { type: "string" }, uniqueItems: false }, valid: [["x", "x"]], invalid: [[1]] },
  {
    schema: { type: "array", items: { type: "array", items: { type: "array", items: { type: "null" } } } },
    valid: [[], [[[null]]]],
    invalid: [[null], [[null]]],
  },
  { schema: { items: { type: "string" } }, valid: [[], ["a"]], invalid: [[1]] },
  {
    schema: {
      allOf: [
        { type: "array", items: { type: "integer" } },
        { items: { minimum: 3 }, minItems: 1 },
      ],
    },
    valid: [[3]],
    invalid: [[2], [], ["a"]],
  },
  {
    schema: { allOf: [{ prefixItems: [{ type: "string" }] }, { type: "array", items: { maxLength: 2 } }] },
    valid: [["ab"]],
    invalid: [["abc"], [1]],
  },
];

export const objects: readonly SchemaCase[] = [
  { schema: person, valid: [{ name: "a" }], invalid: [{}, { name: 1 }, [], null] },
  {
    schema: closed({ a: { type: "integer" }, b: { type: "string" } }),
    valid: [{ a: 1, b: "x" }],
    invalid: [{ a: 1 }, { b: "x" }, { a: 1, b: "x", c: 1 }, { a: "1", b: "x" }],
  },
  {
    schema: closed({ a: { type: "integer" }, b: { type: "string" }, c: { type: "null" } }, []),
    valid: [{}, { a: 1 }, { b: "x" }, { c: null }, { a: 1, c: null }, { a: 1, b: "", c: null }],
    invalid: [{ d: 1 }, { a: "x" }],
  },
  {
    schema: closed({ a: { type: "integer" }, b: { type: "string" }, c: { type: "null" } }, ["b"]),
    valid: [{ b: "x" }, { a: 1, b: "x" }, { b: "x", c: null }],
    invalid: [{}, { a: 1, c: null }],
  },
  {
    schema: closed({ 2: { const: 2 }, 1: { const: 1 }, a: { const: 0 } }),
    valid: [{ 1: 1, 2: 2, a: 0 }],
    invalid: [{ 1: 1, a: 0 }],
  },
  {
    schema: { type: "object", properties: { a: { type: "integer" } }, additionalProperties: true },
    valid: [{}, { a: 1 }, { a: 1, b: "x" }, { z: [] }],
    invalid: [{ a: "x" }, { b: 1, a: null }],
  },
  {
    schema: { type: "object", properties: { a: { type: "integer" } }, additionalProperties: { type: "string" } },
    valid: [{ a: 1, b: "x" }, { b: "x" }, { A: "", aa: "" }],
    invalid: [{ a: "x" }, { b: 1 }],
  },
  {
    schema: {
      type: "object",
      properties: { a: {}, ab: {}, abc: {} },
      required: ["a"],
      additionalProperties: { const: 0 },
    },
    valid: [{ a: 1, b: 0, abcd: 0, "": 0 }],
    invalid: [{ a: 1, b: 1 }, { abcd: 0 }],
  },
  {
    schema: { type: "object", additionalProperties: { type: "integer" } },
    valid: [{}, { a: 1, '"': 2, "é\n": 3 }],
    invalid: [{ a: "x" }],
  },
  { schema: { type: "object", additionalProperties: false }, valid: [{}], invalid: [{ a: 1 }] },
  { schema: { type: "object", properties: {} }, valid: [{}], invalid: [[]] },
  {
    schema: { type: "object", required: ["a", "b"] },
    valid: [
      { a: 1, b: [] },
      { a: null, b: {} },
    ],
    invalid: [{}, { a: 1 }],
  },
  {
    schema: {
      type: "object",
      properties: { a: { type: "string" } },
      required: ["a", "z"],
      additionalProperties: { type: "integer" },
    },
    valid: [{ a: "x", z: 1 }],
    invalid: [{ a: "x" }, { a: "x", z: "y" }],
  },
  { schema: { type: "object", properties: { a: false, b: {} } }, valid: [{}, { b: 1 }], invalid: [{ a: 1 }] },
  {
    schema: {
      type: "object",
      properties: {
        'quote"': { type: "integer" },
        "back\\slash": { type: "integer" },
        "new\nline": { type: "integer" },
        "é🎉": { type: "integer" },
      },
    },
    valid: [{ 'quote"': 1, "back\\slash": 2, "new\nline": 3, "é🎉": 4 }],
    invalid: [{ 'quote"': "x" }],
  },
  {
    schema: { type: "object", properties: { a: {}, b: {}, c: {} }, minProperties: 2 },
    valid: [
      { a: 1, c: 2 },
      { a: 1, b: 1, c: 1 },
    ],
    invalid: [{}, { b: 1 }],
  },
  {
    schema: { type: "object", properties: { a: {}, b: {}, c: {} }, maxProperties: 1 },
    valid: [{}, { b: 1 }],
    invalid: [{ a: 1, b: 1 }],
  },
  {
    schema: { type: "object", properties: { a: {}, b: {} }, additionalProperties: { const: 1 }, maxProperties: 3 },
    valid: [{}, { a: 1, b: 2, x: 1 }, { x: 1, y: 1, z: 1 }],
    invalid: [{ a: 1, b: 2, x: 1, y: 1 }],
  },
  {
    schema: { type: "object", additionalProperties: { const: 1 }, minProperties: 1 },
    valid: [{ a: 1 }],
    invalid: [{}],
  },
  {
    schema: { type: "object", additionalProperties: { const: 1 }, maxProperties: 2 },
    valid: [{}, { a: 1, b: 1 }],
    invalid: [{ a: 1, b: 1, c: 1 }],
  },
  {
    schema: { type: "object", properties: { a: {}, b: {} }, additionalProperties: { const: 1 }, minProperties: 2 },
    valid: [
      { a: 1, b: 2 },
      { b: 1, x: 1 },
    ],
    invalid: [{ a: 1 }, {}],
  },
  {
    schema: { type: "object", patternProperties: { "^s_": { type: "string" } } },
    valid: [{}, { s_a: "x" }],
    invalid: [{ s_a: 1 }],
  },
  {
    schema: {
      type: "object",
      patternProperties: { "^s_": { type: "string" }, "^i_": { type: "integer" } },
      additionalProperties: false,
    },
    valid: [{ s_a: "x", i_b: 1 }],
    invalid: [{ x: 1 }, { i_a: "x" }],
  },
  {
    schema: {
      type: "object",
      properties: { a: { type: "integer" } },
      patternProperties: { "^a": { minimum: 5 } },
      additionalProperties: { type: "boolean" },
    },
    valid: [{ a: 5, ab: 6, c: true }],
    invalid: [{ a: 4 }, { ab: 4 }, { c: 1 }],
  },
  {
    schema: {
      type: "object",
      patternProperties: { a: { minimum: 5, type: "integer" }, b: { maximum: 7, type: "integer" } },
    },
    valid: [{ a: 9, b: 1, ab: 6 }],
    invalid: [{ ab: 8 }, { ab: 4 }],
  },
  {
    schema: { type: "object", propertyNames: { pattern: "^[a-z]+$" }, additionalProperties: { type: "integer" } },
    valid: [{ abc: 1 }, {}],
    invalid: [{ A: 1 }, { a: "x" }],
  },
  {
    schema: { type: "object", propertyNames: { type: "string" }, additionalProperties: { type: "integer" } },
    valid: [{ "A b": 1 }],
    invalid: [{ a: null }],
  },
  {
    schema: { type: "object", propertyNames: { enum: ["x", "y"] }, additionalProperties: { type: "integer" } },
    valid: [{ x: 1 }, { y: 2, x: 1 }],
    invalid: [{ z: 1 }, { x: "a" }],
  },
  {
    schema: { type: "object", propertyNames: { maxLength: 3 }, properties: { abcd: {}, abc: {} } },
    valid: [{ abc: 1 }],
    invalid: [{ abcd: 1 }],
  },
  {
    schema: { type: "object", propertyNames: { anyOf: [{ const: "k" }, { pattern: "^x" }] }, additionalProperties: {} },
    valid: [{ k: 1, xy: 2 }],
    invalid: [{ a: 1 }],
  },
  { schema: { type: "object", propertyNames: false }, valid: [{}], invalid: [{ a: 1 }] },
  { schema: { properties: { a: { type: "integer" } }, required: ["a"] }, valid: [{ a: 1 }], invalid: [{}, { a: "x" }] },
  { schema: { type: "object" }, strict: true, valid: [{}] },
  {
    schema: { type: "object", properties: { a: { type: "string" } }, required: ["a"] },
    strict: true,
    valid: [{ a: "x" }],
    invalid: [{}],
  },
  {
    schema: closed({ o: closed({ p: closed({ q: { type: "boolean" } }) }) }),
    valid: [{ o: { p: { q: true } } }],
    invalid: [{ o: { p: {} } }, { o: {} }, { o: { p: { q: true, r: 1 } } }],
  },
  {
    schema: closed(Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`p${i}`, { type: "integer" }])), [
      "p0",
      "p39",
    ]),
    valid: [
      { p0: 1, p39: 2 },
      { p0: 1, p20: 3, p39: 2 },
    ],
    invalid: [{ p0: 1 }, { p39: 1 }],
  },
];

const node = {
  type: "object",
  properties: { value: { type: "integer" }, next: { anyOf: [{ $ref: "#/$defs/node" }, { type: "null" }] } },
  required: ["value", "next"],
  additionalProperties: false,
};

export const combinations: readonly SchemaCase[] = [
  { schema: { anyOf: [{ type: "string" }, { type: "integer" }] }, valid: ["a", 1], invalid: [null, 1.5] },
  {
    schema: {
      anyOf: [
        { type: "string", maxLength: 2 },
        { type: "string", pattern: "^x" },
      ],
    },
    valid: ["ab", "xyz"],
    invalid: ["abc"],
  },
  {
    schema: { anyOf: [{ anyOf: [{ const: 1 }, { const: 2 }] }, { anyOf: [{ const: 2 }, { const: 3 }] }] },
    valid: [1, 2, 3],
    invalid: [4],
  },
  {
    schema: {
      type: "object",
      properties: { a: { type: "integer" }, b: { type: "integer" } },
      anyOf: [{ required: ["a"] }, { required: ["b"] }],
    },
    valid: [{ a: 1 }, { b: 1 }, { a: 1, b: 2 }],
    invalid: [{}, { a: "x" }],
  },
  { schema: { type: "string", anyOf: [{ minLength: 3 }, { const: "" }] }, valid: ["", "abc"], invalid: ["a", 1] },
  { schema: { anyOf: [false, { type: "null" }] }, valid: [null], invalid: [1] },
  {
    schema: {
      anyOf: [{ type: "integer" }],
      oneOf: [
        { minimum: 5, type: "number" },
        { maximum: 2, type: "number" },
      ],
    },
    valid: [5, 2],
    invalid: [3, 1.5],
  },
  { schema: { oneOf: [{ type: "string" }, { type: "integer" }] }, valid: ["a", 1], invalid: [null] },
  { schema: { oneOf: [{ const: 1 }, { const: 2 }, { enum: [3, 4] }] }, valid: [1, 2, 3, 4], invalid: [5] },
  {
    schema: {
      oneOf: [
        { type: "integer", maximum: 0 },
        { type: "integer", minimum: 1 },
      ],
    },
    valid: [0, 1],
    invalid: ["a"],
  },
  {
    schema: {
      oneOf: [
        { type: "string", pattern: "^a" },
        { type: "string", pattern: "^b" },
      ],
    },
    valid: ["a", "b"],
    invalid: ["c"],
  },
  {
    schema: {
      oneOf: [
        { type: "string", maxLength: 2 },
        { type: "string", minLength: 3 },
      ],
    },
    valid: ["a", "abc"],
    invalid: [1],
  },
  {
    schema: {
      oneOf: [
        { type: "string", pattern: "^x", maxLength: 3 },
        { type: "string", pattern: "^y" },
      ],
    },
    valid: ["xab", "y"],
    invalid: ["a"],
  },
  {
    schema: {
      oneOf: [
        { type: "array", items: { type: "integer" }, minItems: 1 },
        { type: "array", items: { type: "string" }, minItems: 1 },
      ],
    },
    valid: [[1], ["a"]],
    invalid: [[], [1, "a"]],
  },
  {
    schema: {
      oneOf: [
        { type: "array", maxItems: 1 },
        { type: "array", minItems: 2 },
      ],
    },
    valid: [[], [1, 2]],
    invalid: [1],
  },
  {
    schema: {
      oneOf: [
        closed({ kind: { const: "a" }, x: { type: "integer" } }),
        closed({ kind: { const: "b" }, y: { type: "string" } }),
      ],
    },
    valid: [
      { kind: "a", x: 1 },
      { kind: "b", y: "s" },
    ],
    invalid: [
      { kind: "a", y: "s" },
      { kind: "c", x: 1 },
    ],
  },
  {
    schema: { oneOf: [{ ...person }, { type: "object", properties: { id: { type: "integer" } }, required: ["id"] }] },
    valid: [{ name: "a" }, { id: 1 }],
    invalid: [{}, { name: "a", id: 1 }],
  },
  {
    schema: {
      type: "object",
      properties: { a: { type: "integer" }, b: { type: "integer" } },
      oneOf: [
        { required: ["a"], properties: { b: false } },
        { required: ["b"], properties: { a: false } },
      ],
    },
    valid: [{ a: 1 }, { b: 1 }],
    invalid: [{}, { a: 1, b: 1 }],
  },
  {
    schema: {
      oneOf: [{ $ref: "#/$defs/cat" }, { $ref: "#/$defs/dog" }],
      discriminator: { propertyName: "pet" },
      $defs: { cat: closed({ pet: { const: "cat" } }), dog: closed({ pet: { const: "dog" } }) },
    },
    valid: [{ pet: "cat" }, { pet: "dog" }],
    invalid: [{ pet: "cow" }],
  },
  { schema: { oneOf: [{ type: "integer" }] }, valid: [1], invalid: ["a"] },
  {
    schema: { allOf: [person, { type: "object", properties: { age: { type: "integer" } }, required: ["age"] }] },
    valid: [{ name: "a", age: 1 }],
    invalid: [{ name: "a" }, { age: 1 }],
  },
  {
    schema: {
      allOf: [{ properties: { a: { type: "integer" } } }, { properties: { a: { minimum: 3 } }, required: ["a"] }],
      type: "object",
    },
    valid: [{ a: 3 }],
    invalid: [{ a: 2 }, {}],
  },
  {
    schema: { allOf: [{ type: ["string", "integer"] }, { type: ["integer", "null"] }] },
    valid: [1],
    invalid: ["a", null],
  },
  { schema: { allOf: [{ type: "number" }, { type: "integer" }] }, valid: [1], invalid: [1.5] },
  {
    schema: {
      allOf: [{ type: "object", properties: { a: {} }, additionalProperties: false }, { properties: { b: {} } }],
    },
    valid: [{ a: 1 }],
    invalid: [{ b: 1 }],
  },
  {
    schema: {
      allOf: [
        { anyOf: [{ type: "string" }, { type: "integer" }] },
        { anyOf: [{ maxLength: 2, type: "string" }, { type: "null" }] },
      ],
    },
    valid: ["ab"],
    invalid: ["abc", 1, null],
  },
  { schema: { $ref: "#/$defs/a", $defs: { a: { type: "string" } } }, valid: ["x"], invalid: [1] },
  {
    schema: { $ref: "#/definitions/a", definitions: { a: { $ref: "#/definitions/b" }, b: { type: "null" } } },
    valid: [null],
    invalid: [1],
  },
  { schema: { $ref: "#/$defs/a", minLength: 2, $defs: { a: { type: "string" } } }, valid: ["xy"], invalid: ["x"] },
  { schema: { $ref: "#/$defs/a~1b%20~0c", $defs: { "a/b ~c": { type: "boolean" } } }, valid: [true], invalid: [1] },
  {
    schema: { $ref: "#/$defs/node", $defs: { node } },
    valid: [
      { value: 1, next: null },
      { value: 1, next: { value: 2, next: null } },
    ],
    invalid: [{ value: 1 }, { value: 1, next: {} }],
  },
  {
    schema: {
      type: "object",
      properties: { name: { type: "string" }, children: { type: "array", items: { $ref: "#" } } },
      required: ["name", "children"],
    },
    valid: [{ name: "a", children: [{ name: "b", children: [] }] }],
    invalid: [{ name: "a", children: [{}] }],
  },
  {
    schema: {
      $ref: "#/$defs/json",
      $defs: { json: { anyOf: [{ type: "null" }, { type: "array", items: { $ref: "#/$defs/json" } }] } },
    },
    valid: [null, [[null], []]],
    invalid: [1, [1]],
  },
  {
    schema: { type: "array", items: { $ref: "#/prefixItems/0" }, prefixItems: [{ type: "integer" }] },
    valid: [[1, 2]],
    invalid: [["a"]],
  },
  {
    schema: {
      $ref: "#/$defs/a",
      $defs: {
        a: { type: "object", properties: { b: { $ref: "#/$defs/b" } } },
        b: { type: "array", items: { $ref: "#/$defs/a" } },
      },
    },
    valid: [{}, { b: [{}, { b: [] }] }],
    invalid: [{ b: [1] }],
  },
  {
    schema: {
      anyOf: [{ $ref: "#/$defs/endless" }, { type: "string" }],
      $defs: { endless: { type: "object", properties: { e: { $ref: "#/$defs/endless" } }, required: ["e"] } },
    },
    valid: ["a"],
    invalid: [{}, { e: {} }],
  },
];

/** As people send them: OpenAI's guides, function parameters, what zod and pydantic write. */
export const real: readonly SchemaCase[] = [
  {
    strict: true,
    schema: closed({
      name: { type: "string" },
      date: { type: "string" },
      participants: { type: "array", items: { type: "string" } },
    }),
    valid: [{ name: "Science Fair", date: "Friday", participants: ["Alice", "Bob"] }],
    invalid: [
      { name: "Science Fair", date: "Friday" },
      { name: "x", date: "y", participants: "Alice" },
    ],
  },
  {
    strict: true,
    schema: closed({
      steps: { type: "array", items: closed({ explanation: { type: "string" }, output: { type: "string" } }) },
      final_answer: { type: "string" },
    }),
    valid: [{ steps: [{ explanation: "a", output: "b" }], final_answer: "x = 3" }],
    invalid: [{ steps: [{ explanation: "a" }], final_answer: "x" }],
  },
  {
    strict: true,
    schema: {
      ...closed({
        type: {
          type: "string",
          description: "The type of the UI component",
          enum: ["div", "button", "header", "section", "field", "form"],
        },
        label: { type: "string", description: "The label of the UI component" },
        children: { type: "array", description: "Nested UI components", items: { $ref: "#" } },
        attributes: { type: "array", items: closed({ name: { type: "string" }, value: { type: "string" } }) },
      }),
    },
    valid: [
      {
        type: "form",
        label: "",
        children: [{ type: "field", label: "x", children: [], attributes: [{ name: "a", value: "b" }] }],
        attributes: [],
      },
    ],
    invalid: [{ type: "span", label: "", children: [], attributes: [] }],
  },
  {
    strict: true,
    schema: {
      ...closed({ linked_list: { $ref: "#/$defs/linked_list_node" } }),
      $defs: {
        linked_list_node: closed({
          value: { type: "number" },
          next: { anyOf: [{ $ref: "#/$defs/linked_list_node" }, { type: "null" }] },
        }),
      },
    },
    valid: [{ linked_list: { value: 1.5, next: { value: 2, next: null } } }],
    invalid: [{ linked_list: { value: 1 } }],
  },
  {
    strict: true,
    schema: closed({
      item: {
        anyOf: [
          { ...closed({ name: { type: "string" }, age: { type: "number" } }), description: "The user object" },
          {
            ...closed({ number: { type: "string" }, street: { type: "string" }, city: { type: "string" } }),
            description: "The address",
          },
        ],
      },
    }),
    valid: [{ item: { name: "a", age: 3 } }, { item: { number: "1", street: "b", city: "c" } }],
    invalid: [{ item: { name: "a", city: "c" } }, { item: null }],
  },
  {
    schema: closed({
      is_violating: { type: "boolean" },
      category: { type: ["string", "null"], enum: ["violence", "sexual", "self_harm", null] },
      explanation_if_violating: { type: ["string", "null"] },
    }),
    valid: [{ is_violating: false, category: null, explanation_if_violating: null }],
    invalid: [{ is_violating: false, category: "other", explanation_if_violating: null }],
  },
  {
    schema: {
      type: "object",
      properties: {
        location: { type: "string", description: "City and country e.g. Bogotá, Colombia" },
        units: { type: "string", enum: ["celsius", "fahrenheit"] },
      },
      required: ["location"],
    },
    valid: [{ location: "Paris" }, { location: "Paris", units: "celsius" }],
    invalid: [{ units: "celsius" }, { location: "Paris", units: "kelvin" }],
  },
  {
    schema: {
      type: "object",
      properties: {
        query: { type: "string" },
        options: closed({
          num_results: { type: "number", default: 5 },
          domain_filter: { type: ["string", "null"] },
          sort_by: { type: ["string", "null"], enum: ["relevance", "date", "popularity", "alphabetical", null] },
        }),
      },
      required: ["query", "options"],
      additionalProperties: false,
    },
    valid: [{ query: "q", options: { num_results: 5, domain_filter: null, sort_by: "date" } }],
    invalid: [{ query: "q", options: {} }],
  },
  {
    schema: {
      type: "object",
      properties: {},
      additionalProperties: false,
      $schema: "http://json-schema.org/draft-07/schema#",
    },
    valid: [{}],
    invalid: [{ a: 1 }],
  },
  {
    // zod: z.object({id: z.uuid(), email: z.email(), n: z.int().positive(), tags: z.array(z.string()).max(3), r: z.record(z.string(), z.number()), t: z.tuple([z.string(), z.number()])})
    schema: {
      $schema: "https://json-schema.org/draft/2020-12/schema",
      ...closed({
        id: {
          type: "string",
          format: "uuid",
          pattern:
            "^([0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[1-8][0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}|00000000-0000-0000-0000-000000000000|ffffffff-ffff-ffff-ffff-ffffffffffff)$",
        },
        n: { type: "integer", exclusiveMinimum: 0, maximum: 9007199254740991 },
        tags: { maxItems: 3, type: "array", items: { type: "string" } },
        r: { type: "object", propertyNames: { type: "string" }, additionalProperties: { type: "number" } },
        t: { type: "array", prefixItems: [{ type: "string" }, { type: "number" }] },
      }),
    },
    valid: [{ id: "123e4567-e89b-12d3-a456-426614174000", n: 1, tags: ["a"], r: { x: 1.5 }, t: ["a", 1] }],
    invalid: [
      { id: "x", n: 1, tags: [], r: {}, t: ["a", 1] },
      { id: "123e4567-e89b-12d3-a456-426614174000", n: 0, tags: [], r: {}, t: ["a", 1] },
    ],
  },
  {
    // zod's discriminatedUnion, optional, nullable, literal, default.
    schema: {
      anyOf: [
        {
          type: "object",
          properties: { status: { type: "string", const: "success" }, data: { type: "string" } },
          required: ["status", "data"],
          additionalProperties: false,
        },
        {
          type: "object",
          properties: {
            status: { type: "string", const: "failed" },
            error: { anyOf: [{ type: "string" }, { type: "null" }] },
          },
          required: ["status"],
          additionalProperties: false,
        },
      ],
    },
    valid: [{ status: "success", data: "x" }, { status: "failed" }, { status: "failed", error: null }],
    invalid: [{ status: "success" }, { status: "failed", data: "x" }],
  },
  {
    // pydantic: Optional fields, Enum and nested models as $ref beside other keywords.
    schema: {
      $defs: {
        Color: { enum: ["red", "blue"], title: "Color", type: "string" },
        Wheel: {
          properties: { size: { exclusiveMinimum: 0, title: "Size", type: "integer" } },
          required: ["size"],
          title: "Wheel",
          type: "object",
        },
      },
      properties: {
        color: { $ref: "#/$defs/Color", default: "red" },
        wheels: { items: { $ref: "#/$defs/Wheel" }, maxItems: 4, minItems: 2, title: "Wheels", type: "array" },
        note: { anyOf: [{ type: "string" }, { type: "null" }], default: null, title: "Note" },
        built: { format: "date-time", title: "Built", type: "string" },
      },
      required: ["wheels", "built"],
      title: "Car",
      type: "object",
    },
    valid: [
      { wheels: [{ size: 1 }, { size: 2 }], built: "2024-01-01T00:00:00Z" },
      { color: "blue", wheels: [{ size: 1 }, { size: 2 }], note: null, built: "2024-01-01T00:00:00Z" },
    ],
    invalid: [
      { wheels: [{ size: 1 }], built: "2024-01-01T00:00:00Z" },
      { wheels: [{ size: 1 }, { size: 0 }], built: "2024-01-01T00:00:00Z" },
    ],
  },
  {
    // pydantic's tagged union.
    schema: {
      $defs: {
        Cat: {
          properties: { kind: { const: "cat", type: "string" }, lives: { type: "integer", maximum: 9 } },
          required: ["kind", "lives"],
          type: "object",
        },
        Dog: {
          properties: { kind: { const: "dog", type: "string" }, barks: { type: "number" } },
          required: ["kind", "barks"],
          type: "object",
        },
      },
      properties: {
        pet: {
          discriminator: { mapping: { cat: "#/$defs/Cat", dog: "#/$defs/Dog" }, propertyName: "kind" },
          oneOf: [{ $ref: "#/$defs/Cat" }, { $ref: "#/$defs/Dog" }],
        },
      },
      required: ["pet"],
      type: "object",
    },
    valid: [{ pet: { kind: "cat", lives: 9 } }, { pet: { kind: "dog", barks: 1.5 } }],
    invalid: [{ pet: { kind: "cat", lives: 10 } }, { pet: { kind: "dog", lives: 1 } }],
  },
  {
    // schemars (Rust), as MCP servers send it.
    schema: {
      $schema: "http://json-schema.org/draft-07/schema#",
      title: "Args",
      type: "object",
      required: ["path"],
      properties: {
        path: { type: "string" },
        limit: { type: ["integer", "null"], format: "uint32", minimum: 0.0 },
        mode: { anyOf: [{ $ref: "#/definitions/Mode" }, { type: "null" }] },
      },
      definitions: {
        Mode: {
          oneOf: [
            { type: "string", enum: ["fast"] },
            {
              type: "object",
              required: ["slow"],
              properties: { slow: { type: "integer", format: "uint8", minimum: 0.0 } },
              additionalProperties: false,
            },
          ],
        },
      },
    },
    valid: [
      { path: "a", limit: 4294967295, mode: { slow: 255 } },
      { path: "a", limit: null, mode: "fast" },
    ],
    invalid: [
      { path: "a", mode: "slow" },
      { path: "a", limit: -1 },
    ],
  },
  {
    // OpenAPI 3.0 with nullable and vendor extensions.
    schema: {
      type: "object",
      properties: {
        a: { type: "string", nullable: true, "x-order": 1, example: "e" },
        b: { type: "integer", format: "int32", minimum: 0 },
        c: { type: "string", format: "date" },
      },
      required: ["a", "b"],
    },
    valid: [
      { a: null, b: 0 },
      { a: "x", b: 1, c: "2024-01-01" },
    ],
    invalid: [{ a: null }, { a: null, b: -1 }],
  },
  {
    schema: {
      type: "object",
      properties: {
        lat: { type: "number", minimum: -90, maximum: 90 },
        lon: { type: "number", minimum: -180, maximum: 180 },
        zoom: { type: "integer", minimum: 0, maximum: 22 },
      },
      required: ["lat", "lon"],
    },
    valid: [{ lat: 48.85, lon: 2.35, zoom: 22 }],
    invalid: [
      { lat: 91, lon: 0 },
      { lat: 0, lon: 0, zoom: 23 },
    ],
  },
  {
    schema: {
      type: "object",
      properties: {
        invoice: {
          type: "object",
          properties: {
            number: { type: "string", pattern: "^INV-[0-9]{6}$" },
            total: { type: "number", minimum: 0, multipleOf: 0.01 },
            lines: {
              type: "array",
              minItems: 1,
              items: {
                type: "object",
                properties: {
                  sku: { type: "string", minLength: 1, maxLength: 12 },
                  qty: { type: "integer", minimum: 1 },
                },
                required: ["sku", "qty"],
              },
            },
          },
          required: ["number", "total", "lines"],
        },
      },
      required: ["invoice"],
    },
    valid: [{ invoice: { number: "INV-000001", total: 12.5, lines: [{ sku: "a", qty: 1 }] } }],
    invalid: [
      { invoice: { number: "INV-1", total: 12.5, lines: [{ sku: "a", qty: 1 }] } },
      { invoice: { number: "INV-000001", total: 1, lines: [] } },
    ],
  },
];

export const allCases: readonly SchemaCase[] = [
  types,
  values,
  strings,
  numbers,
  arrays,
  objects,
  combinations,
  real,
].flat();

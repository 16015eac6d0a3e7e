import type { Random } from "./random.ts";

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** JSON text of values that schemas, parsers and number formats trip over; some are no JSON at all. */
const wild: readonly string[] = [
  ...["null", "true", "false", "0", "-0", "-1", "1.5", "1e3", "1e400", "-1e400", "1e-400", "4294967295", "4294967296"],
  ...[
    "2147483648",
    "-2147483649",
    "9007199254740993",
    "18446744073709551616",
    "9".repeat(400),
    "0.1e-7",
    "01",
    "1.",
    "-",
  ],
  ...["NaN", "Infinity", "undefined", "'x'", '"', '"\\x"', '"\\u12"', '"\t"', "[1,]", '{"a":1,}', "{a:1}", "/**/1"],
  ...['""', '"robot"', '"hello"', '"\\ud800"', '"\\udc00x"', '"\\u0000"', '"\\u2028</script>"', '"AAAA"', '"!!!="'],
  ...[
    '"Infinity"',
    '"NaN"',
    '"-0"',
    '"1"',
    '"1e1"',
    '" 1"',
    '"2026-11-21T00:00:00Z"',
    '"data:;base64,"',
    '"http://[::1"',
  ],
  ...["[]", "{}", "[[]]", "[{}]", "[null]", "[0]", "[[0],[]]", '[""]', '["a",1,null]', '{"type":"nope"}', '{"type":5}'],
  ...['{"type":"text"}', '{"type":"text","text":1}', '{"type":"image_url","image_url":{"url":"file:///etc/passwd"}}'],
  ...['{"__proto__":{"a":1}}', '{"constructor":{"prototype":1}}', '{"toString":1}', '{"a":1,"a":2}', '{"":""}'],
  ...['{"type":"json_schema","json_schema":{"name":"a","schema":{"$ref":"#"}}}', '{"type":"object","properties":{}}'],
  ...[
    '{"@type":"type.googleapis.com/google.protobuf.Struct"}',
    '{"text":"a","parts":[]}',
    '"CHAT_ROLE_USER"',
    '"USER"',
  ],
];

function wildValue(random: Random): string {
  if (random.chance(0.85)) return random.pick(wild);
  const depth = random.pick([5, 62, 63, 64, 65, 200, 5_000]);
  const size = random.pick([300, 600, 5_000, 70_000]);
  switch (random.int(6)) {
    case 0:
      return "[".repeat(depth) + (random.chance(0.7) ? "]".repeat(depth) : "");
    case 1:
      return '{"a":'.repeat(depth) + (random.chance(0.7) ? `0${"}".repeat(depth)}` : "");
    case 2:
      return `"${"x".repeat(size)}"`;
    case 3:
      return `"${"\\ud83d\\ude00".repeat(size / 100)}"`;
    case 4:
      return `[${"0,".repeat(size / 10)}0]`;
    default:
      return `{${Array.from({ length: size / 50 }, (_, i) => `"k${i}":${i}`).join(",")}}`;
  }
}

/** A JSON text with a few values, names or members changed for ones that may not be there. */
export function mutateJson(text: string, random: Random): string {
  let result = text;
  for (let left = random.pick([1, 1, 1, 2, 3]); left > 0; left--) {
    try {
      result = mutateOnce(JSON.parse(result) as Json, random);
    } catch {
      // It is no JSON any more, or too deep to be printed again.
      return result;
    }
  }
  return random.chance(0.03)
    ? random.pick([`\ufeff${result}`, `${result}x`, ` ${result}\n`, `${result}${result}`])
    : result;
}

/** Stands where raw text goes: JSON.stringify could not write it. */
const mark = "@@fuzz@@";

function mutateOnce(root: Json, random: Random): string {
  const places = placesOf(root);
  if (places.length === 0 || random.chance(0.02)) return wildValue(random);
  const { parent, key } = random.pick(places);
  const raw = wildValue(random);
  const put = (container: Json, name: string | number) => {
    if (Array.isArray(container)) container[Number(name)] = mark;
    // Not `container[name]`: "__proto__" would be no member.
    else Object.defineProperty(container, name, { value: mark, enumerable: true, configurable: true });
  };
  const members = Array.isArray(parent) ? undefined : (parent as Record<string, Json>);
  let text = raw;
  switch (random.int(members === undefined ? 3 : 8)) {
    case 0:
    case 1:
    case 3:
      put(parent, key);
      break;
    case 2:
      if (Array.isArray(parent)) parent.push(...(parent.slice(0, 1) as Json[]));
      else delete members?.[key];
      break;
    case 4: {
      // Twice the same member.
      const old = JSON.stringify(members?.[key] ?? null);
      put(parent, key);
      text = `${old},${JSON.stringify(key)}:${raw}`;
      break;
    }
    case 5:
      put(
        parent,
        random.pick(["__proto__", "zz", "", "type", "text", "stream", "content", "model", "constructor", "a\u0000b"]),
      );
      break;
    case 6: {
      const value = members?.[key] ?? null;
      delete members?.[key];
      put(
        parent,
        random.pick([String(key).toUpperCase(), `${key}s`, `${key}[]`, String(key).replaceAll("_", ""), "\ud800"]),
      );
      text = JSON.stringify(value);
      break;
    }
    default: {
      // The name with an escape in it.
      const name = JSON.stringify(String(key)).slice(1, -1);
      const value = JSON.stringify(members?.[key] ?? null);
      delete members?.[key];
      put(parent, "zz");
      return JSON.stringify(root).replace(`"zz":"${mark}"`, () => `"${escaped(name)}":${value}`);
    }
  }
  return JSON.stringify(root).replace(`"${mark}"`, () => text);
}

function escaped(name: string): string {
  return `\\u${name.charCodeAt(0).toString(16).padStart(4, "0")}${name.slice(1)}`;
}

interface Place {
  readonly parent: Json;
  readonly key: string | number;
}

/** Deeper ones are all alike. */
const maxDepth = 40;

function placesOf(value: Json, depth = 0): Place[] {
  if (typeof value !== "object" || value === null || depth > maxDepth) return [];
  const keys = Array.isArray(value) ? value.keys() : Object.keys(value);
  return [...keys].flatMap((key) => [
    { parent: value, key },
    ...placesOf((value as Record<string | number, Json>)[key] ?? null, depth + 1),
  ]);
}

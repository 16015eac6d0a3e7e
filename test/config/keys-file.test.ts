import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { hashKey } from "../../src/access/keys.ts";
import { ConfigError } from "../../src/config/config-error.ts";
import { formatKeyEntry, readKeysFile } from "../../src/config/keys-file.ts";

const hash = `sha256:${"0".repeat(64)}`;
const other = `sha256:${"1".repeat(64)}`;

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "loqui-keys-"));
  file = join(folder, "keys.yaml");
});
afterEach(() => rmSync(folder, { recursive: true }));

it("reads keys with their defaults", () => {
  writeFileSync(
    file,
    `- {id: a, hash: "${hash}", scopes: [inference]}
- {id: b@acme, hash: "${other}", scopes: [admin, models:read], tenant: acme, requests_per_minute: 5, tokens_per_minute: unlimited}`,
  );
  expect(readKeysFile(file)).toEqual([
    { id: "a", hash: Buffer.alloc(32), scopes: new Set(["inference"]), tenant: "a" },
    {
      id: "b@acme",
      hash: Buffer.alloc(32, 0x11),
      scopes: new Set(["admin", "models:read"]),
      tenant: "acme",
      requestsPerMinute: 5,
      tokensPerMinute: Number.POSITIVE_INFINITY,
    },
  ]);
});

it("an empty list has no key", () => {
  writeFileSync(file, "[]");
  expect(readKeysFile(file)).toEqual([]);
});

const canary = "loqui_canary-0123456789";

it.each([
  ["", /: is not a list of keys; \[\] has none$/],
  ["keys: []", /: is not a list of keys; \[\] has none$/],
  [`- {id: a\n  ${canary}: [}`, /: line \d is not valid YAML$/],
  [`- {id: a, hash: "${canary}", scopes: [inference]}`, /: \[0\]\.hash: is not sha256: and 64 hexadecimal digits$/],
  [`- {id: a, hash: "${hash.toUpperCase()}", scopes: [inference]}`, /\[0\]\.hash: is not/],
  [`- {id: a, hash: "${hash}0", scopes: [inference]}`, /\[0\]\.hash: is not/],
  [`- {id: a, scopes: [inference]}`, /\[0\]\.hash: is missing$/],
  [`- {id: "${canary} x", hash: "${hash}", scopes: [inference]}`, /\[0\]\.id: may hold letters/],
  [`- {id: a, hash: "${hash}", scopes: [${canary}]}`, /\[0\]\.scopes\[0\]: .*"inference"/],
  [`- {id: a, hash: "${hash}", scopes: []}`, /\[0\]\.scopes: /],
  [`- {id: a, hash: "${hash}", scopes: [inference], tenant: ""}`, /\[0\]\.tenant: /],
  [`- {id: a, hash: "${hash}", scopes: [inference], requests_per_minute: 0}`, /\[0\]\.requests_per_minute: Too small/],
  [
    `- {id: a, hash: "${hash}", scopes: [inference], tokens_per_minute: ${canary}}`,
    /\[0\]\.tokens_per_minute: is neither a whole number from 1 to 1000000000 nor unlimited$/,
  ],
  [`- {id: a, hash: "${hash}", scopes: [inference], colour: red}`, /\[0\]: .*colour/],
  [
    `- {id: a, hash: "${hash}", scopes: [inference]}\n- {id: a, hash: "${other}", scopes: [inference]}`,
    /\[1\]\.id: is the same as \[0\]\.id$/,
  ],
  [
    `- {id: a, hash: "${hash}", scopes: [inference]}\n- {id: b, hash: "${hash}", scopes: [inference]}`,
    /\[1\]\.hash: is the same as \[0\]\.hash$/,
  ],
])("refuses %j and quotes no value of it", (text, message) => {
  writeFileSync(file, text);
  let thrown: unknown;
  try {
    readKeysFile(file);
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toBeInstanceOf(ConfigError);
  expect((thrown as Error).message).toMatch(message);
  expect((thrown as Error).message.startsWith(`${file}: `)).toBe(true);
  expect((thrown as Error).message).not.toContain(canary);
});

it("refuses a file that is not there, and a folder", () => {
  expect(() => readKeysFile(file)).toThrow(`${file}: can't be read: ENOENT`);
  expect(() => readKeysFile(folder)).toThrow(`${folder}: can't be read: EISDIR`);
});

it("an entry that was written is read again", () => {
  const text = formatKeyEntry({ id: "a", scopes: ["inference", "models:read"], tokens_per_minute: 7 }, "the key");
  expect(text).toBe(
    `- id: a
  hash: sha256:${Buffer.from(hashKey("the key")).toString("hex")}
  scopes:
    - inference
    - models:read
  tokens_per_minute: 7
`,
  );
  writeFileSync(file, text);
  expect(readKeysFile(file)).toMatchObject([{ id: "a", tenant: "a", tokensPerMinute: 7 }]);
});

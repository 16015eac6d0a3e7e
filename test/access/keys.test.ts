import { describe, expect, it } from "vitest";
import { addressAccount } from "../../src/access/address.ts";
import { type ApiKey, createKeyRing, hashKey, presentedKey } from "../../src/access/keys.ts";
import { allows } from "../../src/access/scopes.ts";

const key = (id: string, plain: string): ApiKey => ({
  id,
  hash: hashKey(plain),
  scopes: new Set(["inference"]),
  tenant: id,
});

describe("a key ring", () => {
  const ring = createKeyRing([key("one", "loqui_one"), key("two", "loqui_two")]);

  it("finds a key by its text", () => {
    expect(ring.find("loqui_one")?.id).toBe("one");
    expect(ring.find("loqui_two")?.id).toBe("two");
  });

  it.each([
    ["empty", ""],
    ["a part of a key", "loqui_on"],
    ["a key and more", "loqui_one "],
    ["another case", "LOQUI_ONE"],
    ["NUL", "loqui_one\0"],
    ["nothing but NULs", "\0\0\0\0"],
    ["100 kB", "x".repeat(100_000)],
    ["a hash", `sha256:${Buffer.from(hashKey("loqui_one")).toString("hex")}`],
    ["a lone surrogate", "\ud800"],
    ["quotes", "' OR '1'='1"],
    ["a member of every object", "__proto__"],
  ])("%s is no key", (_, presented) => {
    expect(ring.find(presented)).toBeUndefined();
  });

  it("changes its keys at once", () => {
    const changing = createKeyRing([key("old", "loqui_old")]);
    changing.replace([key("new", "loqui_new")]);
    expect(changing.find("loqui_old")).toBeUndefined();
    expect(changing.find("loqui_new")?.id).toBe("new");
    changing.replace([]);
    expect(changing.find("loqui_new")).toBeUndefined();
  });
});

it("keys are hashed with SHA-256", () => {
  expect(Buffer.from(hashKey("abc")).toString("hex")).toBe(
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
  );
});

it.each([
  [{}, undefined],
  [{ authorization: "Bearer k" }, "k"],
  [{ authorization: "bearer \t k " }, "k"],
  [{ authorization: "Bearer" }, undefined],
  [{ authorization: "Bearer  " }, undefined],
  [{ authorization: "Bearerk" }, undefined],
  [{ authorization: "k" }, undefined],
  [{ authorization: "Basic abc" }, undefined],
  [{ "x-api-key": "k" }, "k"],
  [{ "x-api-key": "" }, undefined],
  [{ authorization: "Basic abc", "x-api-key": "k" }, "k"],
  [{ authorization: "Bearer one", "x-api-key": "two" }, "one"],
  [{ authorization: "Bearer one, Bearer two" }, "one, Bearer two"],
])("the key that %j presents is %s", (headers: Record<string, string>, presented) => {
  expect(presentedKey((name) => headers[name])).toBe(presented);
});

it.each([
  [["inference"], "inference", true],
  [["inference"], "models:read", false],
  [["models:write"], "models:read", false],
  [["admin"], "models:write", true],
  [[], "inference", false],
] as const)("the scopes %j for %s: %s", (scopes, needed, allowed) => {
  expect(allows(new Set(scopes), needed)).toBe(allowed);
});

it.each([
  ["10.0.0.1", "10.0.0.1"],
  ["::ffff:10.0.0.1", "10.0.0.1"],
  ["::1", "0:0:0:0::/64"],
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
  ["2001:db8::6", "2001:db8:0:0::/64"],
  ["2001:0DB8:0001:2::", "2001:db8:1:2::/64"],
  ["fe80::1%eth0", "fe80:0:0:0::/64"],
  ["64:ff9b::1.2.3.4", "64:ff9b:0:0::/64"],
  [undefined, "unknown"],
])("calls from %s count for %s", (address, account) => {
  expect(addressAccount(address)).toBe(account);
});

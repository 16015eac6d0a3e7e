import { readFileSync, statSync } from "node:fs";
import { parse, stringify, YAMLParseError } from "yaml";
import { z } from "zod";
import { type ApiKey, hashKey } from "../access/keys.ts";
import { scopeNames } from "../access/scopes.ts";
import { ConfigError, describeIssue } from "./config-error.ts";

const name = z
  .string()
  .max(64)
  .regex(/^[A-Za-z0-9][A-Za-z0-9._@-]*$/, "may hold letters, digits and . _ @ - and begins with a letter or digit");

/** A rate limit: a whole number a minute. */
const perMinute = z.int().min(1).max(1_000_000_000);

const ownLimit = z
  .union([perMinute, z.literal("unlimited")], {
    error: "is neither a whole number from 1 to 1000000000 nor unlimited",
  })
  .transform((value) => (value === "unlimited" ? Number.POSITIVE_INFINITY : value))
  .optional();

const entrySchema = z
  .strictObject({
    /** Names the key in logs. */
    id: name,
    /** SHA-256 of the key. */
    hash: z.string({ error: "is missing" }).regex(/^sha256:[0-9a-f]{64}$/, "is not sha256: and 64 hexadecimal digits"),
    scopes: z.array(z.enum(scopeNames)).min(1).max(16),
    /** Keys of one tenant share caches. Default: a tenant of its own, called as the key. */
    tenant: name.optional(),
    requests_per_minute: ownLimit,
    /** Of prompts and completions together. */
    tokens_per_minute: ownLimit,
  })
  .transform(
    (entry): ApiKey => ({
      id: entry.id,
      hash: Buffer.from(entry.hash.slice("sha256:".length), "hex"),
      scopes: new Set(entry.scopes),
      tenant: entry.tenant ?? entry.id,
      requestsPerMinute: entry.requests_per_minute,
      tokensPerMinute: entry.tokens_per_minute,
    }),
  );

/** An entry of a keys file. */
export type KeyEntry = z.input<typeof entrySchema>;

const fileSchema = z.array(entrySchema, { error: "is not a list of keys; [] has none" }).max(10_000);

const maxFileBytes = 8 * 1024 * 1024;

/**
 * Reads a keys file. Throws a ConfigError that names the file, the place in it
 * and what is wrong, but quotes nothing of it: a key may stand there by mistake.
 */
export function readKeysFile(path: string): ApiKey[] {
  let text = "";
  let bytes: number;
  try {
    bytes = statSync(path).size;
    if (bytes <= maxFileBytes) text = readFileSync(path, "utf8");
  } catch (error) {
    throw new ConfigError(`${path}: can't be read: ${(error as NodeJS.ErrnoException).code ?? "unknown reason"}`);
  }
  if (bytes > maxFileBytes) throw new ConfigError(`${path}: is larger than ${maxFileBytes} bytes`);
  let document: unknown;
  try {
    document = parse(text, { prettyErrors: false });
  } catch (error) {
    const [offset] = error instanceof YAMLParseError ? error.pos : [0];
    throw new ConfigError(`${path}: line ${text.slice(0, offset).split("\n").length} is not valid YAML`);
  }
  const result = fileSchema.safeParse(document);
  if (!result.success) throw new ConfigError(`${path}: ${describeIssue(result.error)}`);
  refuseTwins(
    path,
    "id",
    result.data.map((key) => key.id),
  );
  refuseTwins(
    path,
    "hash",
    result.data.map((key) => Buffer.from(key.hash).toString("hex")),
  );
  return result.data;
}

function refuseTwins(path: string, what: string, values: readonly string[]): void {
  const seen = new Map<string, number>();
  for (const [index, value] of values.entries()) {
    const other = seen.get(value);
    if (other !== undefined) throw new ConfigError(`${path}: [${index}].${what}: is the same as [${other}].${what}`);
    seen.set(value, index);
  }
}

/** A keys file with one key, in YAML. Throws a ConfigError for an entry that {@link readKeysFile} would refuse. */
export function formatKeyEntry(entry: Omit<KeyEntry, "hash">, key: string): string {
  const { id, ...others } = entry;
  const whole: KeyEntry = { id, hash: `sha256:${Buffer.from(hashKey(key)).toString("hex")}`, ...others };
  const result = entrySchema.safeParse(whole);
  if (!result.success) throw new ConfigError(describeIssue(result.error));
  return stringify([whole], { flowCollectionPadding: false, collectionStyle: "any", lineWidth: 0 });
}

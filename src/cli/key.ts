import { randomBytes } from "node:crypto";
import { formatKeyEntry, type KeyEntry } from "../config/keys-file.ts";

/** What `loqui key` takes beside the id. */
export interface KeyOptions {
  /** Comma-separated. */
  readonly scopes: string;
  readonly tenant?: string;
  readonly requestsPerMinute?: number;
  readonly tokensPerMinute?: number;
}

/**
 * Makes an API key of 256 random bits. It is shown once, on standard error; its
 * entry, which holds the hash only, goes to standard output, so that
 * `loqui key NAME >> keys.yaml` adds it. Throws a ConfigError for a bad option.
 */
export function key(id: string, options: KeyOptions): void {
  const secret = `loqui_${randomBytes(32).toString("base64url")}`;
  const scopes = options.scopes.split(",").map((scope) => scope.trim()) as KeyEntry["scopes"];
  const entry = formatKeyEntry(
    {
      id,
      scopes,
      ...(options.tenant !== undefined && { tenant: options.tenant }),
      ...(options.requestsPerMinute !== undefined && { requests_per_minute: options.requestsPerMinute }),
      ...(options.tokensPerMinute !== undefined && { tokens_per_minute: options.tokensPerMinute }),
    },
    secret,
  );
  process.stderr.write(
    `${secret}\nThis is the key; it is kept nowhere and not shown again. Its entry for the keys file:\n`,
  );
  process.stdout.write(entry);
}

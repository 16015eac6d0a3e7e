import { createHash, timingSafeEqual } from "node:crypto";
import type { RateLimit } from "./rate-limits.ts";
import type { Scope } from "./scopes.ts";

/** An API key as the server knows it: never the key itself. */
export interface ApiKey extends RateLimit {
  /** Names the key in logs and records. */
  readonly id: string;
  /** SHA-256 of the key, 32 bytes. */
  readonly hash: Uint8Array;
  readonly scopes: ReadonlySet<Scope>;
  /** Caches are shared within a tenant only. */
  readonly tenant: string;
}

/** SHA-256 of a key. Keys are random, so a slow hash would protect nothing more. */
export function hashKey(key: string): Uint8Array {
  return createHash("sha256").update(key).digest();
}

/** The keys that are asked for at the moment. */
export interface KeyRing {
  /**
   * The key that a client presents; undefined where there is no such key. Its
   * hash is compared with every key's in constant time: the time says nothing
   * of which key was nearly met.
   */
  find(presented: string): ApiKey | undefined;
  /** The keys from now on. Calls that are in flight go on. */
  replace(keys: readonly ApiKey[]): void;
}

export function createKeyRing(initial: readonly ApiKey[]): KeyRing {
  let keys = initial;
  return {
    find(presented) {
      const hash = hashKey(presented);
      let found: ApiKey | undefined;
      for (const key of keys) {
        if (timingSafeEqual(key.hash, hash)) found = key;
      }
      return found;
    },
    replace(next) {
      keys = next;
    },
  };
}

/**
 * The key in a request's header or gRPC metadata: `authorization: Bearer …`,
 * else `x-api-key`. Another scheme of `authorization` belongs to a proxy on the
 * way. Undefined where none is presented.
 */
export function presentedKey(header: (name: string) => string | undefined): string | undefined {
  const authorization = header("authorization");
  if (authorization !== undefined && /^bearer(?:[ \t]|$)/i.test(authorization)) {
    return authorization.slice("bearer".length).trim() || undefined;
  }
  return header("x-api-key")?.trim() || undefined;
}

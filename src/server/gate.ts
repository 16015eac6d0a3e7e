import type { DescMethod } from "@bufbuild/protobuf";
import { addressAccount } from "../access/address.ts";
import { type ApiKey, type KeyRing, presentedKey } from "../access/keys.ts";
import type { RateLimit, RateLimits } from "../access/rate-limits.ts";
import { allows, type Scope } from "../access/scopes.ts";
import { LoquiError } from "../errors.ts";
import { anyone, type Caller } from "../request-context.ts";
import type { OriginPolicy } from "./cors.ts";
import type { HostPolicy } from "./host-policy.ts";
import { type HttpRequest, type HttpResponse, headerOf, sendEmpty } from "./http.ts";
import { accessOf, type NeededAccess } from "./method-access.ts";

export interface GateOptions {
  readonly hosts: HostPolicy;
  readonly origins: OriginPolicy;
  /** The keys that are asked for; undefined where everybody may call. */
  readonly keys: KeyRing | undefined;
  /** Methods that need no key though keys are asked for. */
  readonly publicMethods: ReadonlySet<DescMethod>;
  readonly rateLimits: RateLimits;
}

/**
 * What every request passes when its header is there and before its body is
 * read: the name it asks for (`Host`), the page it comes from (`Origin`), its
 * API key and the key's scopes, and the rate limits. One place for all four
 * protocols; each sends the refusal in its own shape.
 */
export interface Gate {
  /**
   * Answers a preflight, which asks for nothing but CORS, and says why where it
   * refuses. Undefined for every other request, which it leaves alone.
   */
  preflight(request: HttpRequest, response: HttpResponse): { readonly refusal: LoquiError | undefined } | undefined;
  /** Why the request must not even see `/livez`: its host or its origin. Undefined where it may. */
  strange(request: HttpRequest): LoquiError | undefined;
  /**
   * Lets a request in and says who calls. `needed`: the methods that it may
   * lead to, before its body has told which; none for what is no method, which
   * needs any key. Throws the refusal as a LoquiError. Sets the response's
   * `www-authenticate` and `x-ratelimit-…` headers.
   */
  enter(request: HttpRequest, response: HttpResponse, needed: readonly DescMethod[]): Promise<Caller>;
  /** The same for what is no method but has a scope. */
  enterFor(request: HttpRequest, response: HttpResponse, needed: NeededAccess): Promise<Caller>;
}

export function createGate(options: GateOptions): Gate {
  const { hosts, origins, keys, publicMethods, rateLimits } = options;
  const known = new Map<DescMethod, NeededAccess>();

  function neededBy(method: DescMethod): NeededAccess {
    let needed = known.get(method);
    if (needed === undefined) {
      needed = publicMethods.has(method) ? "public" : accessOf(method);
      known.set(method, needed);
    }
    return needed;
  }

  function strange(request: HttpRequest): LoquiError | undefined {
    return hosts.refusal(request) ?? origins.refusal(request);
  }

  /** The caller's key; undefined where none is needed and none presented. */
  function authenticate(
    request: HttpRequest,
    response: HttpResponse,
    ring: KeyRing,
    needed: readonly NeededAccess[],
  ): ApiKey | undefined {
    const presented = presentedKey((name) => headerOf(request, name));
    if (presented === undefined) {
      if (needed.every((access) => access === "public")) return undefined;
      response.setHeader("www-authenticate", "Bearer");
      throw new LoquiError(
        "unauthenticated",
        "an API key is needed: send it as `authorization: Bearer KEY` or as `x-api-key: KEY`",
      );
    }
    const key = ring.find(presented);
    if (key === undefined) {
      response.setHeader("www-authenticate", 'Bearer error="invalid_token"');
      throw new LoquiError("unauthenticated", "the API key is not valid");
    }
    const missing = needed.find((access) => isMissing(access, key));
    if (missing !== undefined) {
      response.setHeader("www-authenticate", `Bearer error="insufficient_scope", scope="${missing}"`);
      throw new LoquiError("permission_denied", `the API key ${key.id} has no scope ${missing}`);
    }
    return key;
  }

  async function pass(request: HttpRequest, response: HttpResponse, needed: readonly NeededAccess[]): Promise<Caller> {
    const stranger = strange(request);
    if (stranger !== undefined) throw stranger;
    if (needed.every((access) => access === "none")) return outsider;
    const key = keys && authenticate(request, response, keys, needed);
    const account = key === undefined ? `address:${addressAccount(request.socket?.remoteAddress)}` : `key:${key.id}`;
    const limit: RateLimit = key ?? {};
    const { exceeded, headers } = await rateLimits.enter(account, limit);
    if (!response.headersSent) for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
    if (exceeded !== undefined) {
      throw exceeded.error;
    }
    const charge = (tokens: number) => void rateLimits.charge(account, limit, tokens);
    if (key === undefined) return { ...(keys === undefined ? anyone : outsider), charge };
    return { keyId: key.id, tenant: key.tenant, scopes: key.scopes, charge };
  }

  return {
    strange,
    preflight(request, response) {
      if (!origins.isPreflight(request)) return undefined;
      const refusal = hosts.refusal(request);
      if (refusal === undefined) return { refusal: origins.answerPreflight(request, response) };
      sendEmpty(response, 403);
      return { refusal };
    },
    enter(request, response, methods) {
      return pass(request, response, methods.length === 0 ? ["key"] : methods.map(neededBy));
    },
    enterFor: (request, response, needed) => pass(request, response, [needed]),
  };
}

/** Who calls without a key where keys are asked for. */
const outsider: Caller = { tenant: "", scopes: new Set(), charge: () => {} };

function isMissing(access: NeededAccess, key: ApiKey): access is Scope {
  return access !== "none" && access !== "public" && access !== "key" && !allows(key.scopes, access);
}

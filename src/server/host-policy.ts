import { isIP } from "node:net";
import { LoquiError } from "../errors.ts";
import { authorityOf, type HttpRequest } from "./http.ts";

/**
 * Which names of the server requests may ask for. A page whose name an attacker
 * has pointed at this machine (DNS rebinding) is of the same origin as the
 * server, for the browser and for every check of `Origin`; only the name in
 * `Host` gives it away. The name may come in `:authority` and in an absolute
 * target as well: whichever are there, all must be allowed. Ports don't count.
 */
export interface HostPolicy {
  /** Why the request is refused; undefined where it is not. */
  refusal(request: HttpRequest): LoquiError | undefined;
}

/**
 * Allowed are loopback's names, the bound address and the names of `allowed`
 * (`*` for every name). A server that listens on all addresses is asked for by
 * addresses that it can't know, behind a port mapping say: there any address
 * is allowed, because only a name can be rebound.
 */
export function createHostPolicy(bound: string, allowed: readonly string[]): HostPolicy {
  const names = new Set(["localhost", bound, ...allowed].map((name) => name.toLowerCase()));
  const everywhere = bound === "0.0.0.0" || bound === "::";
  const every = names.has("*");

  function isAllowed(authority: string): boolean {
    const host = hostOf(authority);
    if (host === undefined) return false;
    return every || names.has(host) || isLoopbackAddress(host) || (everywhere && isIP(host) !== 0);
  }

  return {
    refusal(request) {
      const asked = authoritiesOf(request);
      if (asked?.every(isAllowed)) return undefined;
      return new LoquiError("host_refused", "requests to this host name are not allowed");
    },
  };
}

/** All that the request says of the server's name; undefined where it says nothing or contradicts itself. */
function authoritiesOf(request: HttpRequest): string[] | undefined {
  const authority = authorityOf(request);
  if (authority === undefined) return undefined;
  const { rawHeaders } = request;
  const authorities = [authority];
  let hosts = 0;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    if (rawHeaders[index]?.toLowerCase() !== "host") continue;
    hosts += 1;
    authorities.push(rawHeaders[index + 1] ?? "");
  }
  const absolute = /^[a-z][a-z0-9+.-]*:\/\/([^/?#]*)/i.exec(request.url ?? "");
  if (absolute !== null) authorities.push(absolute[1] ?? "");
  return hosts > 1 ? undefined : authorities;
}

/** The name or the address of an authority in lower case, without brackets and port; undefined where it is odd. */
function hostOf(authority: string): string | undefined {
  const match = /^(?:([a-z0-9_.-]{1,253})|\[([0-9a-f:.]{2,45})\])(?::\d{1,5})?$/i.exec(authority);
  return (match?.[1] ?? match?.[2])?.toLowerCase();
}

function isLoopbackAddress(host: string): boolean {
  return host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}

import type { CallMetadata } from "../request-context.ts";
import type { HttpRequest, HttpResponse } from "./http.ts";

/** The metadata of a REST call. Each part is made when a handler looks at it; few do. */
export interface RestMetadata extends CallMetadata {
  /** Puts what the handler set into a response whose headers are not out. */
  apply(response: HttpResponse): void;
}

export function createRestMetadata(request: HttpRequest): RestMetadata {
  let received: Headers | undefined;
  let set: Headers | undefined;
  let trailer: Headers | undefined;
  return {
    get request() {
      received ??= headersOf(request);
      return received;
    },
    get response() {
      set ??= new Headers();
      return set;
    },
    get trailer() {
      trailer ??= new Headers();
      return trailer;
    },
    apply(response) {
      if (set === undefined || response.headersSent) return;
      for (const [name, value] of set) response.setHeader(name, value);
    },
  };
}

function headersOf(request: HttpRequest): Headers {
  const headers = new Headers();
  for (const [name, value] of Object.entries(request.headers)) {
    // HTTP/2's pseudo-headers are no headers.
    if (value === undefined || name.startsWith(":")) continue;
    for (const one of Array.isArray(value) ? value : [value]) headers.append(name, one);
  }
  return headers;
}

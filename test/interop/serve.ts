import { LoquiError } from "../../src/errors.ts";
import { createRestHandler } from "../../src/rest/handler.ts";
import { createServer, type Server, type ServerOptions } from "../../src/server/server.ts";
import type { ServiceImplementation } from "../../src/services/handlers.ts";
import { createLog } from "../../src/telemetry/log.ts";

/** Serves a suite's services as loqui serves its own: one port of 127.0.0.1, all protocols. */
export async function serve(
  services: readonly ServiceImplementation[],
  options: Pick<Partial<ServerOptions>, "limits" | "tls"> = {},
): Promise<Server> {
  const server = await createServer({
    host: "127.0.0.1",
    port: 0,
    services,
    rest: (dispatcher) => createRestHandler({ dispatcher }),
    about: { name: "loqui", version: "interop" },
    ...options,
    onRecord: () => {},
    log: createLog({ level: process.env.LOQUI_LOG_LEVEL ?? "warn" }),
  });
  server.health.setReady();
  return server;
}

/** A status that the client has asked for, as a handler fails with it. */
export function statusError(
  code: number,
  message: string,
  details: readonly { readonly type: string; readonly value: Uint8Array }[] = [],
): LoquiError {
  return new LoquiError("internal", message, { status: { code, details } });
}

/** Resolves after a time; rejects at once when the call ends. */
export function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", fail);
      resolve();
    }, ms);
    if (signal.aborted) fail();
    else signal.addEventListener("abort", fail, { once: true });
  });
}

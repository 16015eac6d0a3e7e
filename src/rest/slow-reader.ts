import { LoquiError } from "../errors.ts";
import { breakOff, type HttpResponse } from "./http.ts";

/** How long the reset of a stream may take to leave before its connection is closed. */
const resetMs = 1_000;

/**
 * Breaks a response off whose client leaves what waits for it untaken for
 * `stallMs`: the 64 KiB above which `write` asks to wait, or the rest after its
 * end. `onStall` is told the reason before. Costs nothing while the client
 * keeps up, one timer where it doesn't.
 *
 * A client is measured by the kernel's buffers, which hold megabytes: who takes
 * nothing is noticed when they are full, and who reads slowly seen to read only
 * in steps of as much.
 */
export function watchReader(response: HttpResponse, stallMs: number, onStall: (reason: LoquiError) => void): void {
  let timer: NodeJS.Timeout | undefined;
  let closed = false;

  function stalled(): void {
    onStall(new LoquiError("cancelled", `the client read nothing for ${stallMs} ms`, { code: "stalled" }));
    breakOff(response);
    const session = "stream" in response ? response.stream?.session : undefined;
    if (session === undefined) return;
    // Where the client doesn't read from the connection either, the reset stays here, and the stream's memory with it.
    const late = setTimeout(() => session.destroy(), resetMs);
    response.once("close", () => clearTimeout(late));
  }

  function wait(): void {
    // Behind another response on its connection, it isn't the client who is slow.
    if (!("stream" in response) && response.socket === null) response.once("socket", wait);
    else if (!closed) timer ??= setTimeout(stalled, stallMs);
  }

  function taken(): void {
    clearTimeout(timer);
    timer = undefined;
  }

  // TypeScript can't call the union of their overloads.
  const plainWrite = response.write.bind(response) as (...data: unknown[]) => boolean;
  const plainEnd = response.end.bind(response) as (...data: unknown[]) => HttpResponse;
  response.write = ((...data: unknown[]) => {
    const ready = plainWrite(...data);
    if (!ready) wait();
    return ready;
  }) as HttpResponse["write"];
  response.end = ((...data: unknown[]) => {
    taken();
    plainEnd(...data);
    if (!response.writableFinished) wait();
    return response;
  }) as HttpResponse["end"];
  response.on("drain", taken);
  response.once("close", () => {
    closed = true;
    taken();
  });
  // HTTP/2's compatibility layer says "finish" only when the client has closed its side too.
  if ("stream" in response) response.stream?.once("finish", taken);
}

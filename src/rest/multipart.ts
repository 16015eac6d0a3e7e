import { once } from "node:events";
import { Busboy, type BusboyFileStream, type BusboyInstance } from "@fastify/busboy";
import type { FormFile } from "../codec/codec.ts";
import { LoquiError } from "../errors.ts";
import { type BodyLimits, readBody } from "./body.ts";
import { createByteCollector } from "./byte-collector.ts";
import { type HttpRequest, headerOf } from "./http.ts";

/** The bounds of a multipart body, beside those of every body. */
export interface MultipartLimits extends BodyLimits {
  /** Most parts, files included. */
  readonly parts: number;
  /** Most files. */
  readonly files: number;
  /** Most bytes of a part that is not a file. */
  readonly fieldBytes: number;
}

/** A part: its name, and its text or its file. */
export type FormEntry = readonly [name: string, value: string | FormFile];

/**
 * Reads a multipart/form-data body to its end, in the order of its parts. Files
 * are kept in memory, bounded by the size of the body: nothing touches the disk.
 *
 * Rejects like {@link readBody}, with `too_large` for too many or too large
 * parts, and with `invalid_request` for a body that is not multipart.
 */
export async function readForm(request: HttpRequest, limits: MultipartLimits): Promise<FormEntry[]> {
  const parser = createParser(request, limits);
  // Slots keep the order: a file is complete later than the fields that follow it are seen.
  const entries: (FormEntry | undefined)[] = [];
  const failed = Promise.withResolvers<never>();
  failed.promise.catch(() => {});
  const fail = (error: LoquiError) => failed.reject(error);
  const malformed = (error: unknown) => fail(malformedBody(error instanceof Error ? error.message : "", error));

  parser.on("field", (name: string | undefined, value, _nameTruncated, valueTruncated) => {
    if (name === undefined) malformed(new Error("a part has no name"));
    else if (valueTruncated)
      fail(tooLarge(`${name} is above the limit of ${limits.fieldBytes} bytes for a field`, name));
    else entries.push([name, value]);
  });
  parser.on("file", (name: string | undefined, stream, filename: string | undefined, _encoding, contentType) => {
    stream.on("error", malformed);
    if (name === undefined) malformed(new Error("a part has no name"));
    const slot = entries.push(undefined) - 1;
    collect(stream, (content) => {
      entries[slot] = [name ?? "", { content, filename: filename ?? "", contentType }];
    });
  });
  parser.on("partsLimit", () => fail(tooLarge(`the form has more than ${limits.parts} parts`)));
  parser.on("filesLimit", () => fail(tooLarge(`the form has more than ${limits.files} files`)));
  parser.on("error", malformed);

  const finished = once(parser, "finish");
  finished.catch(() => {});
  await readBody(request, limits, (chunk) => {
    if (parser.write(chunk)) return undefined;
    return Promise.race([once(parser, "drain").then(() => {}), failed.promise]);
  });
  parser.end();
  await Promise.race([finished, failed.promise]);
  return entries.filter((entry) => entry !== undefined);
}

function createParser(request: HttpRequest, limits: MultipartLimits): BusboyInstance {
  try {
    return new Busboy({
      headers: { "content-type": headerOf(request, "content-type") ?? "" },
      limits: {
        parts: limits.parts,
        files: limits.files,
        fieldSize: limits.fieldBytes,
        fileSize: limits.bytes,
        headerPairs: 32,
        headerSize: 16 * 1024,
      },
    });
  } catch (error) {
    throw malformedBody("content-type has no boundary", error);
  }
}

function collect(stream: BusboyFileStream, done: (content: Uint8Array) => void): void {
  const kept = createByteCollector();
  stream.on("data", kept.add);
  stream.on("end", () => done(kept.take()));
}

function malformedBody(what: string, cause: unknown): LoquiError {
  return new LoquiError("invalid_request", `the request body is not valid multipart/form-data: ${what}`, { cause });
}

function tooLarge(message: string, param?: string): LoquiError {
  return new LoquiError("too_large", message, param === undefined ? {} : { param });
}

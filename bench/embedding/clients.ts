/** Clients that cost little beside the servers, whose cores they share: connections stay open, vectors stay bytes. */
import { Agent, request as httpRequest } from "node:http";
import { connect } from "node:http2";
import { create, toBinary } from "@bufbuild/protobuf";
import { TextsSchema } from "../../gen/loqui/v1/common_pb.ts";
import { CreateEmbeddingsRequestSchema, EmbeddingEncodingFormat } from "../../gen/loqui/v1/embedding_pb.ts";
import { RerankRequestSchema } from "../../gen/loqui/v1/rerank_pb.ts";

/** How vectors are asked for; `binary` is packed floats over gRPC, their base64 over REST. */
export type Encoding = "float" | "binary";

/** Has texts embedded or ranked in one request; the answer's bytes. Throws where it is an error. */
export type Ask = (texts: readonly string[], encoding?: Encoding) => Promise<number>;

const timeoutMs = 600_000;

/** Embeds over REST at this path. */
export function restClient(url: string, path: string): Ask {
  const post = restCall(url, path);
  return (texts, encoding) =>
    post({
      model: "bench",
      input: texts.length === 1 ? texts[0] : texts,
      ...(encoding === "binary" && { encoding_format: "base64" }),
    });
}

/** Ranks over REST at this path: the first text is the query. */
export function restRanker(url: string, path: string): Ask {
  const post = restCall(url, path);
  return ([query, ...documents]) => post({ model: "bench", query, documents });
}

/** Embeds over gRPC. */
export function grpcClient(url: string): Ask {
  const call = grpcCall(url, "/loqui.v1.EmbeddingService/CreateEmbeddings");
  return (texts, encoding = "float") => {
    const encodingFormat = encoding === "binary" ? EmbeddingEncodingFormat.BASE64 : EmbeddingEncodingFormat.FLOAT;
    const input = { case: "texts", value: create(TextsSchema, { texts: [...texts] }) } as const;
    const schema = CreateEmbeddingsRequestSchema;
    return call(toBinary(schema, create(schema, { model: "bench", input, encodingFormat })));
  };
}

/** Ranks over gRPC: the first text is the query. */
export function grpcRanker(url: string): Ask {
  const call = grpcCall(url, "/loqui.v1.RerankService/Rerank");
  return ([query = "", ...texts]) => {
    const documents = texts.map((text) => ({ document: { case: "text", value: text } as const }));
    return call(toBinary(RerankRequestSchema, create(RerankRequestSchema, { model: "bench", query, documents })));
  };
}

function restCall(url: string, path: string): (request: object) => Promise<number> {
  const agent = new Agent({ keepAlive: true });
  const { hostname, port } = new URL(url);
  return (request) => {
    const body = JSON.stringify(request);
    const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
    return new Promise((resolve, reject) => {
      const call = httpRequest(
        { agent, hostname, port, path, method: "POST", headers, timeout: timeoutMs },
        (response) => {
          let bytes = 0;
          let first: Buffer | undefined;
          response.on("data", (chunk: Buffer) => {
            first ??= chunk;
            bytes += chunk.length;
          });
          response.on("error", reject);
          response.on("end", () => {
            if (response.statusCode === 200) resolve(bytes);
            else reject(new Error(`${path} answered ${response.statusCode}: ${first?.toString().slice(0, 500)}`));
          });
        },
      );
      call.on("timeout", () => call.destroy(new Error(`${path} did not answer in time`)));
      call.on("error", reject);
      call.end(body);
    });
  };
}

function grpcCall(url: string, path: string): (message: Uint8Array) => Promise<number> {
  const session = connect(url, { settings: { initialWindowSize: 0x7fffffff } });
  session.on("connect", () => session.setLocalWindowSize(0x7fffffff));
  session.unref();
  return (message) => {
    const prefix = Buffer.alloc(5);
    prefix.writeUInt32BE(message.length, 1);
    return new Promise((resolve, reject) => {
      const call = session.request({
        ":method": "POST",
        ":path": path,
        "content-type": "application/grpc",
        te: "trailers",
      });
      let bytes = 0;
      let status: unknown;
      call.on("response", (headers) => {
        status = headers["grpc-status"];
      });
      call.on("trailers", (headers) => {
        status = `${headers["grpc-status"]} ${headers["grpc-message"] ?? ""}`.trim();
      });
      call.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
      });
      call.on("error", reject);
      call.on("close", () => (status === "0" ? resolve(bytes) : reject(new Error(`gRPC status ${status}`))));
      call.setTimeout(timeoutMs, () => call.close());
      call.end(Buffer.concat([prefix, message]));
    });
  };
}

/** Clients that cost little beside the servers, whose cores they share: connections stay open, vectors stay bytes. */
import { Agent, request as httpRequest } from "node:http";
import { connect } from "node:http2";
import { create, toBinary } from "@bufbuild/protobuf";
import { TextsSchema } from "../../gen/loqui/v1/common_pb.ts";
import { CreateEmbeddingsRequestSchema, EmbeddingEncodingFormat } from "../../gen/loqui/v1/embedding_pb.ts";

/** How vectors are asked for; `binary` is packed floats over gRPC, their base64 over REST. */
export type Encoding = "float" | "binary";

/** Has texts embedded in one request; the answer's bytes. Throws where it is an error. */
export type Ask = (texts: readonly string[], encoding?: Encoding) => Promise<number>;

const timeoutMs = 600_000;

export function restClient(url: string, path: string): Ask {
  const agent = new Agent({ keepAlive: true });
  const { hostname, port } = new URL(url);
  return (texts, encoding = "float") => {
    const body = JSON.stringify({
      model: "bench",
      input: texts.length === 1 ? texts[0] : texts,
      ...(encoding === "binary" && { encoding_format: "base64" }),
    });
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

export function grpcClient(url: string): Ask {
  const session = connect(url, { settings: { initialWindowSize: 0x7fffffff } });
  session.on("connect", () => session.setLocalWindowSize(0x7fffffff));
  session.unref();
  return (texts, encoding = "float") => {
    const encodingFormat = encoding === "binary" ? EmbeddingEncodingFormat.BASE64 : EmbeddingEncodingFormat.FLOAT;
    const input = { case: "texts", value: create(TextsSchema, { texts: [...texts] }) } as const;
    const message = toBinary(
      CreateEmbeddingsRequestSchema,
      create(CreateEmbeddingsRequestSchema, { model: "bench", input, encodingFormat }),
    );
    const prefix = Buffer.alloc(5);
    prefix.writeUInt32BE(message.length, 1);
    return new Promise((resolve, reject) => {
      const call = session.request({
        ":method": "POST",
        ":path": "/loqui.v1.EmbeddingService/CreateEmbeddings",
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

/** curl, over HTTP/1.1 and over HTTP/2 without TLS, on the one port. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { helloReply } from "../support/running-loqui.ts";

const url = process.env.LOQUI_TEST_URL ?? "";
const run = promisify(execFile);

async function curl(...args: string[]): Promise<{ version: string; status: string; type: string; body: string }> {
  const format = "\n%{http_version} %{http_code} %{content_type}";
  const { stdout } = await run("curl", [
    "--silent",
    "--show-error",
    "--no-buffer",
    "--max-time",
    "20",
    "-w",
    format,
    ...args,
  ]);
  const end = stdout.lastIndexOf("\n");
  const [version = "", status = "", ...type] = stdout.slice(end + 1).split(" ");
  return { version, status, type: type.join(" "), body: stdout.slice(0, end) };
}

const json = ["-H", "content-type: application/json"];
const chat = (more: object) => [
  ...[`${url}/v1/chat/completions`, ...json, "-d"],
  JSON.stringify({ model: "hello", messages: [{ role: "user", content: "Hi!" }], ...more }),
];

describe.each([
  ["1.1", ["--http1.1"]],
  ["2", ["--http2-prior-knowledge"]],
])("curl over HTTP/%s", (version, flags) => {
  it("answers a chat request", async () => {
    const answer = await curl(...flags, ...chat({}));
    expect(answer).toMatchObject({ version, status: "200", type: "application/json" });
    expect(JSON.parse(answer.body).choices[0].message.content).toBe(helloReply);
  });

  it("streams server-sent events", async () => {
    const answer = await curl(...flags, ...chat({ stream: true }));
    expect(answer).toMatchObject({ version, status: "200", type: "text/event-stream; charset=utf-8" });
    const events = answer.body.split("\n\n").filter((event) => event !== "");
    expect(events.at(-1)).toBe("data: [DONE]");
    const text = events
      .slice(0, -1)
      .map((event) => JSON.parse(event.replace(/^data: /, "")).choices[0]?.delta.content ?? "");
    expect(text.join("")).toBe(helloReply);
  });

  it("gets errors in OpenAI's shape", async () => {
    expect(await curl(...flags, ...chat({ model: "helo" }))).toMatchObject({ version, status: "404" });
    const wrongType = await curl(...flags, `${url}/v1/chat/completions`, "-H", "content-type: text/plain", "-d", "{}");
    expect(wrongType.status).toBe("415");
    expect(JSON.parse(wrongType.body).error.type).toBe("invalid_request_error");
    const wrongMethod = await curl(...flags, "-X", "DELETE", `${url}/v1/chat/completions`);
    expect(wrongMethod.status).toBe("405");
  });

  it("finds the server alive and ready", async () => {
    for (const path of ["/livez", "/readyz", "/health"]) {
      expect(await curl(...flags, `${url}${path}`)).toMatchObject({ version, status: "200", body: '{"status":"ok"}' });
    }
  });

  it("reranks in the shapes of TEI, Jina, Cohere and vLLM", async () => {
    const ask = async (path: string, body: object) => {
      const answer = await curl(...flags, `${url}${path}`, ...json, "-d", JSON.stringify(body));
      expect(answer).toMatchObject({ version, status: "200", type: "application/json" });
      return JSON.parse(answer.body);
    };
    const [query, texts] = ["Hello, world!", ["the lazy dog", "Hello", "!!!"]];
    const model = "reranker";
    const tei: { index: number; score: number }[] = await ask("/rerank", { query, texts, raw_scores: false });
    expect(tei.map(({ score }) => score)).toEqual(tei.map(({ score }) => score).toSorted((a, b) => b - a));
    for (const path of ["/v1/rerank", "/v2/rerank", "/rerank"]) {
      const { results } = await ask(path, { model, query, documents: texts, top_n: 2 });
      const best = tei.slice(0, 2).map(({ index, score }) => ({ index, relevance_score: score }));
      expect(results).toEqual(best);
    }
    for (const path of ["/v1/score", "/score"]) {
      const { data } = await ask(path, { model, text_1: query, text_2: texts });
      const scores = texts.map((_, at) => tei.find(({ index }) => index === at)?.score);
      expect(data).toEqual(scores.map((score, index) => ({ index, object: "score", score })));
    }
  });

  it("calls a model by Connect's JSON", async () => {
    const answer = await curl(...flags, `${url}/loqui.v1.ModelService/GetModel`, ...json, "-d", '{"model":"hello"}');
    expect(JSON.parse(answer.body)).toMatchObject({ id: "hello", state: "MODEL_STATE_READY" });
  });
});

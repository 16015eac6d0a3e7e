import { text } from "node:stream/consumers";
import { ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { ChatRole, ChatService } from "../../gen/loqui/v1/chat_pb.ts";
import { ConfigError } from "../config/config-error.ts";
import { packageRoot } from "../config/package-root.ts";
import { readSettings, type Settings } from "../config/settings.ts";
import { startLoqui } from "../loqui.ts";
import { CommandError } from "./command-error.ts";

/** What `loqui run` takes beside the settings. */
export interface RunOptions {
  readonly system?: string;
  readonly maxTokens?: number;
  readonly temperature?: number;
  readonly seed?: number;
}

/**
 * Streams a model's answer to standard output. Talks to the server at HOST:PORT
 * where one answers, else starts one of its own with just that model.
 */
export async function run(
  model: string,
  prompt: string,
  options: RunOptions,
  flags: Readonly<Record<string, unknown>>,
): Promise<void> {
  const words = prompt === "-" ? await text(process.stdin) : prompt;
  const system = options.system === undefined ? [] : [message(ChatRole.SYSTEM, options.system)];
  // Whoever reads has read enough: `loqui run … | head`.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));
  const target = await findServer(flags, model);
  try {
    const client = createClient(ChatService, createConnectTransport({ baseUrl: target.url, httpVersion: "1.1" }));
    const request = {
      model: target.model,
      messages: [...system, message(ChatRole.USER, words)],
      ...(options.maxTokens !== undefined && { maxTokens: options.maxTokens }),
      ...(options.temperature !== undefined && { temperature: options.temperature }),
      ...(options.seed !== undefined && { seed: BigInt(options.seed) }),
    };
    const chunks = client.streamChatCompletion(request, { headers: authorization() });
    for await (const chunk of chunks) process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
    process.stdout.write("\n");
  } catch (error) {
    throw new CommandError(ConnectError.from(error).rawMessage);
  } finally {
    await target.close();
  }
}

function message(role: ChatRole, words: string) {
  return { role, content: { content: { case: "text" as const, value: words } } };
}

interface Target {
  readonly url: string;
  /** The model's name there. */
  readonly model: string;
  close(): Promise<void>;
}

async function findServer(flags: Readonly<Record<string, unknown>>, model: string): Promise<Target> {
  const { host, port } = readSettings(process.env, flags, packageRoot);
  const url = `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
  const known = await askServer(url, model);
  if (known === true) return { url, model, close: async () => {} };
  const settings = readOwn(flags, model, known === false ? undefined : known);
  const chosen = settings.models.find((candidate) => candidate.preload);
  if (chosen === undefined) throw new CommandError(`no model is called ${model}`);
  // For this command alone: what guards a server from others would only keep the command out.
  const alone = { host: "127.0.0.1", port: 0, apiKeys: undefined, tls: undefined };
  const own = await startLoqui({ ...settings, ...alone, logLevel: "error" });
  return { url: own.url, model: chosen.id, close: () => own.close() };
}

/** Settings of a server for this model alone; `advice` is what a running server said of its name. */
function readOwn(flags: Readonly<Record<string, unknown>>, model: string, advice: string | undefined): Settings {
  try {
    return readSettings(process.env, { ...flags, MODELS: model }, packageRoot);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new CommandError(advice ?? error.message.replace(/^MODELS: /, ""));
  }
}

/** The first key of LOQUI_API_KEYS: what a server with the same environment accepts. */
function authorization(): Record<string, string> {
  const [key = ""] = (process.env.LOQUI_API_KEYS ?? "").split(",");
  return key.trim() === "" ? {} : { authorization: `Bearer ${key.trim()}` };
}

/** Whether the loqui that listens there knows the model, else its own words; false where none listens. */
async function askServer(url: string, model: string): Promise<boolean | string> {
  try {
    const response = await fetch(`${url}/v1/models/${encodeURIComponent(model)}`, {
      headers: authorization(),
      signal: AbortSignal.timeout(1000),
    });
    const body = (await response.json()) as { object?: unknown; engine?: unknown; detail?: unknown; error?: unknown };
    if (response.status === 401 && body.error !== undefined) {
      throw new CommandError(`the server at ${url} asks for an API key: set LOQUI_API_KEYS to one that it knows`);
    }
    if (typeof body.detail === "string") return body.detail;
    return response.ok && body.object === "model" && body.engine !== undefined;
  } catch (error) {
    if (error instanceof CommandError) throw error;
    return false;
  }
}

import { text } from "node:stream/consumers";
import { ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { ChatRole, ChatService } from "../../gen/loqui/v1/chat_pb.ts";
import { ConfigError } from "../config/config-error.ts";
import { packageRoot } from "../config/package-root.ts";
import { readSettings, type Settings } from "../config/settings.ts";
import { startLoqui } from "../loqui.ts";
import { CommandError } from "./command-error.ts";
import { authorization, runningServer } from "./running-server.ts";

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
    const client = createClient(ChatService, target.transport);
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
  readonly transport: Transport;
  /** The model's name there. */
  readonly model: string;
  close(): Promise<void>;
}

async function findServer(flags: Readonly<Record<string, unknown>>, model: string): Promise<Target> {
  const server = await runningServer(readSettings(process.env, flags, packageRoot));
  const known = await server.knows(model);
  if (known === true) return { transport: server.transport, model, close: async () => {} };
  const settings = readOwn(flags, model, known === false ? undefined : known);
  const chosen = settings.models.find((candidate) => candidate.preload);
  if (chosen === undefined) throw new CommandError(`no model is called ${model}`);
  // For this command alone: what guards a server from others would only keep the command out.
  const alone = { host: "127.0.0.1", port: 0, apiKeys: undefined, tls: undefined };
  const own = await startLoqui({ ...settings, ...alone, logLevel: "error" });
  const transport = createConnectTransport({ baseUrl: own.url, httpVersion: "1.1" });
  return { transport, model: chosen.id, close: () => own.close() };
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

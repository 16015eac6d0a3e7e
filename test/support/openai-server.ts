import OpenAI from "openai";
import { type RunningLoqui, startWithScripts } from "./running-loqui.ts";
import { type ValidatingFetch, validatingFetch } from "./validating-fetch.ts";

/** A whole server with scripted models, and OpenAI's SDK for Node as its client. */
export interface OpenAiServer extends RunningLoqui {
  /** Never tries again by itself; see {@link validatingFetch} for what its responses are held against. */
  readonly client: OpenAI;
  readonly validating: ValidatingFetch;
}

/**
 * Starts what {@link startWithScripts} starts, with a chunk for each token, and a
 * client with this key, which also gets it /openapi.json.
 */
export async function startWithOpenAi(
  scripts: Parameters<typeof startWithScripts>[0],
  settings: Parameters<typeof startWithScripts>[1] = {},
  apiKey = "none",
): Promise<OpenAiServer> {
  const parameters = Object.fromEntries(Object.keys(scripts).map((name) => [name, { stream_interval_ms: 0 }]));
  const running = await startWithScripts(scripts, settings, parameters);
  const validating = await validatingFetch(running.url, { "x-api-key": apiKey });
  const client = new OpenAI({ baseURL: `${running.url}/v1`, apiKey, maxRetries: 0, fetch: validating.fetch });
  return { ...running, client, validating };
}

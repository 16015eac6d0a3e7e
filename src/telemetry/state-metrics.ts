import { Counter, Gauge, type Registry } from "prom-client";

/** A model as it stands, and what has come of it since the server started. */
export interface ModelStatus {
  readonly id: string;
  /** Where it is in its life, e.g. `ready`. */
  readonly state: string;
  /** Calls that aren't answered yet. */
  readonly inFlight: number;
  /** What its worker last told; undefined unless it runs. */
  readonly load: ModelLoad | undefined;
  /** Sequences that there is room for; undefined unless it is ready. */
  readonly sequences: number | undefined;
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly generatedTokens: number;
  readonly loads: number;
  readonly crashes: number;
  readonly hangs: number;
  readonly oomKills: number;
  readonly restarts: number;
  readonly quarantines: number;
}

/** How busy a worker is. */
export interface ModelLoad {
  /** Generations that have a sequence. */
  readonly active: number;
  /** Generations that wait for one, and the tokens of their prompts. */
  readonly queued: number;
  readonly queuedTokens: number;
  readonly residentBytes: number;
}

/** What the server has open. */
export interface ServerStatus {
  readonly connections: number;
  /** Requests whose response is not sent completely, by the version of HTTP. */
  readonly streams: { readonly http1: number; readonly http2: number };
}

/** Where the states come from. */
export interface StateSource {
  models(): readonly ModelStatus[];
  /** Undefined while the port is not open. */
  server(): Promise<ServerStatus | undefined>;
}

const states = ["not_downloaded", "downloading", "available", "loading", "ready", "unloading", "failed"];

/** Registers what is read from the models and the server when a page is made. */
export function createStateMetrics(registry: Registry, source: StateSource): void {
  const registers = [registry];
  const labelNames = ["model"] as const;

  const gauge = (name: string, help: string, read: (model: ModelStatus) => number | undefined) =>
    new Gauge({
      name,
      help,
      labelNames,
      registers,
      collect() {
        this.reset();
        for (const model of source.models()) {
          const value = read(model);
          if (value !== undefined) this.set({ model: model.id }, value);
        }
      },
    });
  const total = (name: string, help: string, read: (model: ModelStatus) => number) =>
    new Counter({
      name,
      help,
      labelNames,
      registers,
      collect() {
        this.reset();
        for (const model of source.models()) this.inc({ model: model.id }, read(model));
      },
    });

  gauge("loqui_requests_in_flight", "Calls that a model has not answered yet, those that wait included.", (model) => {
    return model.inFlight;
  });
  gauge("loqui_queue_requests", "Requests that wait for a sequence.", ({ load }) => load?.queued);
  gauge("loqui_queue_tokens", "Tokens of the prompts that wait.", ({ load }) => load?.queuedTokens);
  gauge("loqui_sequences", "Requests that a model can decode at the same time.", ({ sequences }) => sequences);
  gauge("loqui_sequences_busy", "Requests that a model decodes now.", ({ load }) => load?.active);
  gauge("loqui_worker_resident_memory_bytes", "Resident memory of the process that runs a model.", ({ load }) => {
    return load?.residentBytes;
  });
  total("loqui_prompt_tokens_total", "Tokens of the prompts of answered calls.", (model) => model.promptTokens);
  total("loqui_cached_tokens_total", "Those of them that the prefix cache held.", (model) => model.cachedTokens);
  total("loqui_generated_tokens_total", "Tokens that were generated for answered calls.", (model) => {
    return model.generatedTokens;
  });
  total("loqui_model_loads_total", "Times that a model became ready.", (model) => model.loads);
  total("loqui_worker_crashes_total", "Times that the process of a model ended unasked.", (model) => model.crashes);
  total("loqui_worker_hangs_total", "How many of those were killed because they hung.", (model) => model.hangs);
  total("loqui_worker_oom_kills_total", "How many of those the kernel killed for want of memory.", (model) => {
    return model.oomKills;
  });
  total("loqui_worker_restarts_total", "Times that it was started again after that.", (model) => model.restarts);
  total("loqui_inputs_quarantined_total", "Inputs that a worker died of twice.", (model) => model.quarantines);

  new Gauge({
    name: "loqui_model_state",
    help: "1 for the state that a model is in, 0 for the others.",
    labelNames: ["model", "state"],
    registers,
    collect() {
      this.reset();
      for (const model of source.models()) {
        for (const state of states) this.set({ model: model.id, state }, model.state === state ? 1 : 0);
      }
    },
  });
  new Gauge({
    name: "loqui_connections_open",
    help: "Connections that the port has open.",
    registers,
    async collect() {
      this.set((await source.server())?.connections ?? 0);
    },
  });
  new Gauge({
    name: "loqui_streams_open",
    help: "Requests whose response is not sent completely, by the version of HTTP.",
    labelNames: ["http_version"],
    registers,
    async collect() {
      const streams = (await source.server())?.streams;
      this.set({ http_version: "1" }, streams?.http1 ?? 0);
      this.set({ http_version: "2" }, streams?.http2 ?? 0);
    },
  });
}

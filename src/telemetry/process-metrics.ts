import { readdir, readFile } from "node:fs/promises";
import { monitorEventLoopDelay, performance } from "node:perf_hooks";
import { Counter, Gauge, type Registry } from "prom-client";

/** How often the event loop's delay is measured, in milliseconds: the process wakes as often, also beside a decode that wants every core. */
const resolutionMs = 250;

/**
 * Registers what is measured of this process, under the names that Prometheus'
 * client libraries give it, and of its event loop, since the page before. All
 * is read when a page is made, but for the event loop's delay. Returns what ends that.
 */
export function createProcessMetrics(registry: Registry, version: string): () => void {
  const registers = [registry];
  new Gauge({
    name: "loqui_build_info",
    help: "1, with the versions of loqui and Node.js.",
    labelNames: ["version", "node_version"],
    registers,
  }).set({ version, node_version: process.version }, 1);

  const delay = monitorEventLoopDelay({ resolution: resolutionMs });
  delay.enable();
  new Gauge({
    name: "loqui_event_loop_delay_seconds",
    help: "How much later than due the event loop ran timers since the last page: median, 99 of 100, and the longest.",
    labelNames: ["quantile"],
    registers,
    collect() {
      // Each measurement is the time between two ticks of a timer.
      const late = (ns: number) => Math.max(0, ns / 1e9 - resolutionMs / 1e3);
      this.set({ quantile: "0.5" }, late(delay.percentile(50)));
      this.set({ quantile: "0.99" }, late(delay.percentile(99)));
      this.set({ quantile: "1" }, late(delay.max));
      delay.reset();
    },
  });
  let last = performance.eventLoopUtilization();
  new Gauge({
    name: "loqui_event_loop_utilization_ratio",
    help: "Part of the time since the last page in which the event loop was busy, 0 to 1.",
    registers,
    collect() {
      const now = performance.eventLoopUtilization();
      this.set(performance.eventLoopUtilization(now, last).utilization);
      last = now;
    },
  });

  new Counter({
    name: "process_cpu_seconds_total",
    help: "User and system time of the server's process, its workers left out.",
    registers,
    collect() {
      const { user, system } = process.cpuUsage();
      this.reset();
      this.inc((user + system) / 1e6);
    },
  });
  const bytes = (name: string, help: string, read: () => number) =>
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read());
      },
    });
  bytes("process_resident_memory_bytes", "Resident memory of the server's process, its workers left out.", () =>
    process.memoryUsage.rss(),
  );
  bytes("nodejs_heap_size_used_bytes", "Used part of the JavaScript heap.", () => process.memoryUsage().heapUsed);
  bytes("nodejs_heap_size_total_bytes", "Size of the JavaScript heap.", () => process.memoryUsage().heapTotal);
  bytes("nodejs_external_memory_bytes", "Memory of buffers, outside the heap.", () => process.memoryUsage().external);
  new Gauge({
    name: "process_start_time_seconds",
    help: "When the server's process started, in Unix seconds.",
    registers,
  }).set(performance.timeOrigin / 1000);
  if (process.platform === "linux") createFileMetrics(registry);
  return () => delay.disable();
}

/** File descriptors, as Linux tells them. */
function createFileMetrics(registry: Registry): void {
  new Gauge({
    name: "process_open_fds",
    help: "Open file descriptors of the server's process.",
    registers: [registry],
    async collect() {
      // Without the one that reads the folder; none is left to do it when all are in use.
      const names = await readdir("/proc/self/fd").catch(() => undefined);
      if (names !== undefined) this.set(names.length - 1);
    },
  });
  new Gauge({
    name: "process_max_fds",
    help: "Most file descriptors that the server's process may open.",
    registers: [registry],
    async collect() {
      const limits = await readFile("/proc/self/limits", "utf8").catch(() => "");
      const soft = /^Max open files\s+(\d+)/m.exec(limits)?.[1];
      if (soft !== undefined) this.set(Number(soft));
    },
  });
}

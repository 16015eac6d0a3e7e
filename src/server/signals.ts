/** Stop listening for signals. */
export interface SignalHandlers extends Disposable {}

/**
 * Runs `stop` on the first SIGTERM or SIGINT and `force` on every later one.
 * Neither ends the process: it exits with 0 by itself once nothing is open.
 */
export function onShutdownSignals(stop: (signal: NodeJS.Signals) => void, force: () => void): SignalHandlers {
  let stopped = false;
  const handle = (signal: NodeJS.Signals) => {
    if (stopped) return force();
    stopped = true;
    stop(signal);
  };
  process.on("SIGTERM", handle).on("SIGINT", handle);
  return {
    [Symbol.dispose]: () => {
      process.off("SIGTERM", handle).off("SIGINT", handle);
    },
  };
}

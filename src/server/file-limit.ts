/** How many files and sockets the process may have open at a time; undefined where nothing limits it. */
export function fileLimit(): number | undefined {
  // Since Node 22.13; @types/node lacks it.
  const report = process.report as typeof process.report & { excludeNetwork: boolean };
  const { excludeNetwork } = report;
  // Else it would look up the names of all peers.
  report.excludeNetwork = true;
  try {
    const { userLimits } = report.getReport() as { userLimits?: { open_files?: { soft?: unknown } } };
    const soft = userLimits?.open_files?.soft;
    return typeof soft === "number" ? soft : undefined;
  } finally {
    report.excludeNetwork = excludeNetwork;
  }
}

/**
 * How many of the wanted connections can be had: a quarter of the files is left
 * to models, workers and clients, whose calls need a socket each.
 */
export function affordableConnections(wanted: number, files: number | undefined): number {
  return files === undefined ? wanted : Math.max(1, Math.min(wanted, Math.floor(files * 0.75)));
}

/** Whether one more event is within the rate; counts it. */
export type Rate = () => boolean;

/** A token bucket: `perSecond` events a second, and `burst` more at once. */
export function createRate(perSecond: number, burst: number): Rate {
  let tokens = burst;
  let last = performance.now();
  return () => {
    const now = performance.now();
    tokens = Math.min(burst, tokens + ((now - last) / 1000) * perSecond);
    last = now;
    if (tokens < 1) return false;
    tokens -= 1;
    return true;
  };
}

/** The cosine of the angle between the vectors of `width` numbers that begin at `from`. */
export function cosine(a: Float32Array, b: Float32Array, from: number, width: number): number {
  let [ab, aa, bb] = [0, 0, 0];
  for (let at = from; at < from + width; at += 1) {
    const [x = 0, y = 0] = [a[at], b[at]];
    ab += x * y;
    aa += x * x;
    bb += y * y;
  }
  return ab / Math.sqrt(aa * bb);
}

/** Longer text goes to JSON.stringify, which then is as fast as looking for what to escape. */
const maxScanned = 48;

/** A string as JSON. A piece of streamed text rarely has anything to escape, and is short. */
export function quote(text: string): string {
  if (text.length > maxScanned) return JSON.stringify(text);
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x20 || code === 0x22 || code === 0x5c || (code >= 0xd800 && code <= 0xdfff))
      return JSON.stringify(text);
  }
  return `"${text}"`;
}

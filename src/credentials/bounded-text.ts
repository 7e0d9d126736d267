/** What another server answers, as far as it is looked at. */

const MAX_BYTES = 1024 * 1024;

/** The text of a body; throws where it is larger than 1 MiB, and reads no further. */
export async function boundedText(body: AsyncIterable<unknown>): Promise<string> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body) {
    const bytes = chunk as Uint8Array;
    length += bytes.length;
    // Leaving the loop cancels the stream, so nothing more is read.
    if (length > MAX_BYTES) throw new Error(`the answer is larger than ${MAX_BYTES} bytes`);
    chunks.push(bytes);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** Looks for secrets where they must not be: as they are, in part, or encoded. */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/** By name. */
export type Places = ReadonlyMap<string, Buffer>;
export type Secrets = ReadonlyMap<string, string>;

/** Every byte of every file below a folder, by its path in it. */
export function bytesBelow(folder: string): Places {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8', withFileTypes: true });
  const files = names.filter((each) => each.isFile()).map((each) => join(each.parentPath, each.name));
  return new Map(files.map((file) => [file.slice(folder.length + 1), readFileSync(file)]));
}

/** Each secret that is somewhere, and where. */
export function leaksOf(secrets: Secrets, places: Places): readonly string[] {
  return [...secrets].flatMap(([name, secret]) => {
    const sought = spellings(secret);
    const found = [...places].filter(([, bytes]) => sought.some((each) => bytes.includes(each)));
    return found.map(([place]) => `${name} in ${place}`);
  });
}

/** So much of a secret, and no more, is as bad as all of it. */
const PART = 24;

export function spellings(secret: string): readonly string[] {
  const bytes = Buffer.from(secret);
  const encoded = [bytes.toString('hex'), ...[0, 1, 2].map((shift) => innerBase64(bytes, shift))];
  const url_safe = encoded.map((each) => each.replaceAll('+', '-').replaceAll('/', '_'));
  return [...new Set([...partsOf(secret), encodeURIComponent(secret), ...encoded, ...url_safe])];
}

/** Of a JWT what is not the header, which is no secret: something of its claims, and its signature. */
function partsOf(secret: string): readonly string[] {
  if (secret.length <= PART) return [secret];
  const middle = Math.floor(secret.length / 2 - PART / 2);
  return [secret.slice(middle, middle + PART), secret.slice(-PART)];
}

/** As it would stand in what was encoded with `shift` bytes before it: the characters that depend on it alone. */
function innerBase64(bytes: Buffer, shift: number): string {
  const text = Buffer.concat([Buffer.alloc(shift), bytes]).toString('base64');
  const whole = Math.floor((shift + bytes.length) / 3) * 4;
  return text.slice(shift === 0 ? 0 : 4, whole);
}

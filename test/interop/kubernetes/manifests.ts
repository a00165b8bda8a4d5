import { spawnSync } from 'node:child_process';
import { parseAllDocuments } from 'yaml';

/** An object of the API, as far as the tests look into it. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly data?: Readonly<Record<string, string>>;
  readonly [field: string]: unknown;
}

/** @returns what there is in a file of manifests */
export function parseManifests(text: string): readonly Manifest[] {
  return parseAllDocuments(text)
    .map((document) => document.toJS() as Manifest | null)
    .filter((manifest) => manifest !== null);
}

/** The manifest of that kind, of which there is one. */
export function manifestOf(text: string, kind: string, name?: string): Manifest {
  const [found, ...others] = parseManifests(text).filter(
    (manifest) => manifest.kind === kind && (name === undefined || manifest.metadata.name === name),
  );
  if (found === undefined || others.length > 0) throw new Error(`${kind} ${name ?? ''}: not one of it in\n${text}`);
  return found;
}

/** Decodes manifests into the API's own types. @returns the kinds @throws with what is wrong */
export function decodeStrictly(decoder: string, text: string): readonly string[] {
  const { status, stdout, stderr } = spawnSync(decoder, { input: text, encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  return stdout
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as Manifest).kind);
}

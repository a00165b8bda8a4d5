import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** A folder with everything that an agent needs; nobody but its owner can write to it. */
export class Home {
  readonly folder: string;
  readonly config: string;
  readonly socket: string;
  readonly adminSocket: string;
  readonly dataDir: string;
  /** What every configuration of this home begins with. */
  readonly #base: string;

  /**
   * @param entries the files in `entries/`, by name
   * @param config further lines of the configuration
   */
  constructor(
    entries: Readonly<Record<string, string>> = { 'own.yaml': ownEntry() },
    config = '',
    trustDomain = 'example.org',
  ) {
    this.folder = mkdtempSync(join(tmpdir(), 'mayfly-scenario-'));
    // Callers of other users have to reach the socket.
    chmodSync(this.folder, 0o755);
    this.config = join(this.folder, 'mayfly.yaml');
    this.socket = join(this.folder, 'api.sock');
    this.adminSocket = join(this.folder, 'admin.sock');
    this.dataDir = join(this.folder, 'data');
    this.#base = [
      `trust_domain: ${trustDomain}`,
      'socket: api.sock',
      'admin_socket: admin.sock',
      'data_dir: data',
      '',
    ].join('\n');
    this.configure(config);
    mkdirSync(join(this.folder, 'entries'));
    for (const [name, text] of Object.entries(entries)) this.write(`entries/${name}`, text);
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  /** Writes the configuration file in place. */
  configure(more: string): void {
    this.write('mayfly.yaml', `${this.#base}${more}\n`);
  }

  /** Writes a file in place, as `>` does. */
  write(name: string, text: string): void {
    mkdirSync(dirname(this.path(name)), { recursive: true });
    writeFileSync(this.path(name), text);
  }

  /** Writes a file beside and renames it over, as editors do. */
  replace(name: string, text: string): void {
    this.write(`${name}.new`, text);
    renameSync(this.path(`${name}.new`), this.path(name));
  }

  /** Makes it another user's. */
  give(uid: number): void {
    for (const name of ['.', ...readdirSync(this.folder, { recursive: true, encoding: 'utf8' })]) {
      chownSync(this.path(name), uid, uid);
    }
  }

  /** Every file in its data_dir, with its bytes. */
  dataFiles(): Record<string, string> {
    const names = readdirSync(this.dataDir, { recursive: true, encoding: 'utf8' });
    const files = names.filter((name) => statSync(join(this.dataDir, name)).isFile());
    return Object.fromEntries(files.toSorted().map((name) => [name, readFileSync(join(this.dataDir, name), 'base64')]));
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** An entry file with the identity `<name>` of a trust domain. */
export function entry(
  name: string,
  selectors: readonly string[],
  more: readonly string[] = [],
  trustDomain = 'example.org',
): string {
  const lines = [
    `spiffe_id: spiffe://${trustDomain}/${name}`,
    `selectors: [ ${selectors.map((selector) => JSON.stringify(selector)).join(', ')} ]`,
    ...more,
  ];
  return `entries:\n  - id: ${name}\n${lines.map((line) => `    ${line}\n`).join('')}`;
}

/** An entry for whoever runs the tests. */
export function ownEntry(name = 'own', more: readonly string[] = []): string {
  return entry(name, [`unix:uid:${process.getuid?.()}`], more);
}

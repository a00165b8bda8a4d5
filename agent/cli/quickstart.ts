import { createHash } from 'node:crypto';
import { existsSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import { isLackOfRoom, MayflyError, messageOf, systemCodeOf } from '../kernel/errors.ts';
import { makeDirectory } from '../kernel/made-directory.ts';
import { isPathSegment } from '../kernel/spiffe-id.ts';

/** What the quickstart works with; all paths absolute. */
export interface Quickstart {
  readonly config: string;
  readonly socket: string;
  readonly adminSocket: string;
}

// A Unix socket's path has room for 107 bytes, and so has that of its lock beside it.
const MOST_BYTES = 100;

/**
 * Lays out everything that a first agent needs in `<folder>/.mayfly`. Files that are there already stay as they are: they may have
 * been edited.
 *
 * @param uid who gets the one identity: the user who starts it
 * @throws MayflyError `PERMISSION_MISSING` where the folder does not take it, `DISK_FULL`
 */
export function layOutQuickstart(folder: string, uid: number): Quickstart {
  const root = join(folder, '.mayfly');
  const config = join(root, 'mayfly.yaml');
  const sockets = Buffer.byteLength(join(root, 'admin.sock')) <= MOST_BYTES ? root : shortFolder(root, uid);
  const quickstart = { config, socket: join(sockets, 'api.sock'), adminSocket: join(sockets, 'admin.sock') };
  try {
    makeDirectory(join(root, 'entries'), 0o755);
    writeNew(config, configText());
    writeNew(join(root, 'entries', 'user.yaml'), entryText(uid));
  } catch (error) {
    throw explained(root, error);
  }
  return quickstart;
}

/** Tells clients in the same folder where the sockets are. */
export function writeEndpoint({ config, socket, adminSocket }: Quickstart): void {
  const file = join(dirname(config), 'endpoint.json');
  writeFileSync(file, `${JSON.stringify({ socket, admin_socket: adminSocket })}\n`, { mode: 0o644 });
}

/** The last part of the user's identity: the name, or `uid-<n>` where there is none that may stand in a path. */
export function userSegment(uid: number, nameOf: () => string = () => userInfo().username): string {
  try {
    const name = nameOf();
    if (isPathSegment(name)) return name;
  } catch {
    // The user has no entry in the system's directory, as in many containers.
  }
  return `uid-${uid}`;
}

function shortFolder(root: string, uid: number): string {
  const name = createHash('sha256').update(root).digest('hex').slice(0, 12);
  const folder = join(process.env['XDG_RUNTIME_DIR'] ?? tmpdir(), `mayfly-${uid}-${name}`);
  return Buffer.byteLength(folder) + 12 <= MOST_BYTES ? folder : join('/tmp', `mayfly-${uid}-${name}`);
}

function explained(root: string, error: unknown): unknown {
  if (systemCodeOf(error) === undefined) return error;
  if (isLackOfRoom(error)) {
    return new MayflyError('DISK_FULL', `there is no room for ${root}; make some`, { cause: error });
  }
  const sentence = `${root} cannot be made, start it in a folder that you may write to: ${messageOf(error)}`;
  return new MayflyError('PERMISSION_MISSING', sentence, { cause: error });
}

function writeNew(file: string, text: string): void {
  if (!existsSync(file)) writeFileSync(file, text, { flag: 'wx', mode: 0o644 });
}

function configText(): string {
  return `# A first agent. What each key means is in docs/configuration.md; changes are taken over while it runs.
trust_domain: example.org
socket: api.sock
admin_socket: admin.sock
data_dir: data
entries: [ entries/*.yaml ]
`;
}

function entryText(uid: number): string {
  const segment = userSegment(uid);
  return `# Every process of the user who started the agent gets this identity, each with a key of its own.
entries:
  - id: user-${segment}
    spiffe_id: spiffe://example.org/user/${segment}
    selectors: [ "unix:uid:${uid}" ]
`;
}

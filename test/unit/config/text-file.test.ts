import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { readTextFile } from '../../../agent/config/text-file.ts';
import { unprivileged } from './unprivileged.ts';

const folder = mkdtempSync(join(tmpdir(), 'mayfly-text-'));
afterAll(() => rmSync(folder, { recursive: true }));

function made(name: string, content: string | Buffer): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

test('a file is read whole, without a byte order mark', async () => {
  expect(await readTextFile(made('a', 'ä\n'), 3)).toBe('ä\n');
  expect(await readTextFile(made('b', '\ufeffname: a'), 100)).toBe('name: a');
  expect(await readTextFile(made('c', 'x'.repeat(200_000)), 200_000)).toHaveLength(200_000);
});

test('a file that says it is empty and is not is read, up to the limit', async () => {
  expect(await readTextFile('/proc/self/status', 100_000)).toContain('Name:');
  await expect(readTextFile('/proc/self/status', 20)).rejects.toThrow('is larger than 20 bytes, the most that is read');
});

test('a file over the limit is refused before a byte is read', async () => {
  const path = made('big', '');
  truncateSync(path, 50 * 1024 ** 3);
  await expect(readTextFile(path, 1024)).rejects.toMatchObject({
    code: 'INVALID_CONFIG',
    message: `${path}: is larger than 1024 bytes, the most that is read`,
  });
  truncateSync(path, 1025);
  await expect(readTextFile(path, 1024)).rejects.toThrow('is larger than');
  truncateSync(path, 1024);
  expect(await readTextFile(path, 1024)).toHaveLength(1024);
});

test('what is no regular file is refused, and none of them keeps the agent waiting', async () => {
  mkdirSync(join(folder, 'directory'));
  execFileSync('/usr/bin/mkfifo', [join(folder, 'fifo')]);
  symlinkSync('loop', join(folder, 'loop'));
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(join(folder, 'socket'), resolve));
  const refusals: Record<string, string> = {
    directory: 'is a directory; name a regular file',
    fifo: 'is a FIFO; name a regular file',
    socket: 'is a socket or a device; name a regular file',
    loop: 'is a symbolic link that leads to itself',
    missing: 'does not exist',
    'big/below': 'does not exist',
  };
  for (const [name, message] of Object.entries(refusals)) {
    const path = join(folder, name);
    await expect(readTextFile(path, 100)).rejects.toMatchObject({
      code: 'INVALID_CONFIG',
      message: `${path}: ${message}`,
    });
  }
  await expect(readTextFile('/dev/zero', 100)).rejects.toThrow('/dev/zero: is a device; name a regular file');
  await new Promise((resolve) => server.close(resolve));
});

test('a file that the agent may not read is refused with what to do', async () => {
  const path = made('private', 'a: 1');
  chmodSync(folder, 0o755);
  chmodSync(path, 0);
  await unprivileged(() =>
    expect(readTextFile(path, 100)).rejects.toThrow(
      `${path}: may not be read by the user whom the agent runs as; change its permissions or those of a directory above it`,
    ),
  );
});

test('text that is no UTF-8 is refused by its line', async () => {
  const latin1 = made(
    'latin1',
    Buffer.concat([Buffer.from('a: ä\nb: '), Buffer.from([0xe4]), Buffer.from('\nc: d\n')]),
  );
  await expect(readTextFile(latin1, 100)).rejects.toMatchObject({
    problems: [
      { source: latin1, line: 2, column: 1, path: '', message: 'this line is no UTF-8; save the file as UTF-8' },
    ],
  });
  const utf16 = made('utf16', Buffer.from('\ufeffname: a\n', 'utf16le'));
  await expect(readTextFile(utf16, 100)).rejects.toThrow(`${utf16}:1:1: this line is no UTF-8`);
  const cut = made('cut', Buffer.from('a\nb\nä').subarray(0, 5));
  await expect(readTextFile(cut, 100)).rejects.toThrow(`${cut}:3:1: this line is no UTF-8`);
});

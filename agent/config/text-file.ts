import { isUtf8 } from 'node:buffer';
import { constants, type Stats } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { messageOf, systemCodeOf } from '../kernel/errors.ts';
import { InvalidConfig, unusableFile } from './problem.ts';

/**
 * The text of a regular file, without a byte order mark. Directories, FIFOs, sockets, devices and what is larger than `maxBytes` are
 * refused before a byte is read, and text that is no UTF-8 after.
 *
 * @throws InvalidConfig also when the file is missing or may not be read
 */
export async function readTextFile(path: string, maxBytes: number): Promise<string> {
  let file: FileHandle;
  try {
    // O_NONBLOCK: opening a FIFO that nobody writes to would otherwise wait for ever.
    file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch (error) {
    throw unusableFile(path, cannotOpen(error), error);
  }
  try {
    const stats = await file.stat();
    if (!stats.isFile()) throw unusableFile(path, `is ${kindOf(stats)}; name a regular file`);
    if (stats.size > maxBytes) throw tooLarge(path, maxBytes);
    return decode(path, await readUpTo(file, path, maxBytes));
  } finally {
    await file.close();
  }
}

/** Reads to the end, not to the size it had: files under /proc have none, and one may grow meanwhile. */
async function readUpTo(file: FileHandle, path: string, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let total = 0;
  for (;;) {
    const { bytesRead, buffer } = await file
      .read(Buffer.allocUnsafe(65_536), 0, 65_536, null)
      .catch((error: unknown) => {
        throw unusableFile(path, `cannot be read: ${messageOf(error)}`, error);
      });
    if (bytesRead === 0) return Buffer.concat(chunks, total);
    total += bytesRead;
    if (total > maxBytes) throw tooLarge(path, maxBytes);
    chunks.push(buffer.subarray(0, bytesRead));
  }
}

function decode(path: string, bytes: Buffer): string {
  if (!isUtf8(bytes)) {
    const line = firstBadLine(bytes);
    throw new InvalidConfig([
      { source: path, line, column: 1, path: '', message: 'this line is no UTF-8; save the file as UTF-8' },
    ]);
  }
  return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
}

/** A line feed is never part of a longer UTF-8 sequence, so that lines can be judged one by one. */
function firstBadLine(bytes: Buffer): number {
  let start = 0;
  for (let line = 1; ; line += 1) {
    const end = bytes.indexOf(0x0a, start);
    if (end < 0 || !isUtf8(bytes.subarray(start, end))) return line;
    start = end + 1;
  }
}

function cannotOpen(error: unknown): string {
  switch (systemCodeOf(error)) {
    case 'ENOENT':
    case 'ENOTDIR':
      return 'does not exist';
    case 'EACCES':
    case 'EPERM':
      return 'may not be read by the user whom the agent runs as; change its permissions or those of a directory above it';
    case 'ENXIO':
      return 'is a socket or a device; name a regular file';
    case 'ELOOP':
      return 'is a symbolic link that leads to itself';
    case undefined:
    default:
      return `cannot be opened: ${messageOf(error)}`;
  }
}

function kindOf(stats: Stats): string {
  if (stats.isDirectory()) return 'a directory';
  if (stats.isFIFO()) return 'a FIFO';
  return 'a device';
}

function tooLarge(path: string, maxBytes: number): InvalidConfig {
  return unusableFile(path, `is larger than ${maxBytes} bytes, the most that is read`);
}

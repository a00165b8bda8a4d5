import { createHash } from 'node:crypto';
import type { BigIntStats } from 'node:fs';
import { type FileHandle, statfs } from 'node:fs/promises';

/** The SHA-256 of a file in lower-case hex, or why there is none. */
export type FileDigest =
  | { readonly kind: 'digest'; readonly hex: string }
  | { readonly kind: 'changing' | 'user-space' | 'unreadable'; readonly message: string };

const CHUNK_BYTES = 256 * 1024;
// A file system in user space can answer the hash with one content and execve with another.
const FUSE_SUPER_MAGIC = 0x65735546;

/**
 * Hashes an open file from its first byte to its last.
 *
 * @param status what the file was when its caller looked: a file that is another one before or after the reading has no digest
 * @throws the system's error when it cannot be read, and the reason of `signal`
 */
export async function digestFile(file: FileHandle, status: BigIntStats, signal: AbortSignal): Promise<FileDigest> {
  if ((await statfs(`/proc/self/fd/${file.fd}`)).type === FUSE_SUPER_MAGIC) {
    return { kind: 'user-space', message: 'its file system is FUSE, which may show each reader something else' };
  }
  const identity = identityOf(status);
  if (identityOf(await file.stat({ bigint: true })) !== identity) return changing();
  const hash = createHash('sha256');
  const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, Number(status.size) + 1));
  let position = 0;
  for (;;) {
    signal.throwIfAborted();
    const { bytesRead } = await file.read(chunk, 0, chunk.length, position);
    if (bytesRead === 0) break;
    position += bytesRead;
    // A file that grows for ever would be read for ever.
    if (position > status.size) return changing();
    hash.update(chunk.subarray(0, bytesRead));
  }
  if (BigInt(position) !== status.size || identityOf(await file.stat({ bigint: true })) !== identity) return changing();
  return { kind: 'digest', hex: hash.digest('hex') };
}

/** Equal for as long as a file is the same and has not been written: device, inode, size, times of content and of inode. */
export function identityOf(status: BigIntStats): string {
  return `${status.dev}:${status.ino}:${status.size}:${status.mtimeNs}:${status.ctimeNs}`;
}

function changing(): FileDigest {
  return { kind: 'changing', message: 'it changed while it was read' };
}

import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import type { FileStatus } from '../../peer/system/file-status.ts';

/** The SHA-256 of a file in lower-case hex, or why there is none. */
export type FileDigest =
  | { readonly kind: 'digest'; readonly hex: string }
  | { readonly kind: 'changing' | 'unreadable'; readonly message: string };

const CHUNK_BYTES = 256 * 1024;

/**
 * Hashes an open file from its first byte to its last.
 *
 * @param status what the file was when its caller looked: a file that is another one before or after the reading has no digest
 * @throws the system's error when it cannot be read, and the reason of `signal`
 */
export async function digestFile(file: FileHandle, status: FileStatus, signal: AbortSignal): Promise<FileDigest> {
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
export function identityOf(status: FileStatus): string {
  return `${status.dev}:${status.ino}:${status.size}:${status.mtimeNs}:${status.ctimeNs}`;
}

function changing(): FileDigest {
  return { kind: 'changing', message: 'it changed while it was read' };
}

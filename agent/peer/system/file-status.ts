import { checked, libc } from './native.ts';

/** What tells one file from all others, and whether it has been written. As `BigIntStats` of Node has it. */
export interface FileStatus {
  readonly dev: bigint;
  readonly ino: bigint;
  readonly size: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
}

const AT_EMPTY_PATH = 0x1000;
const AT_STATX_DONT_SYNC = 0x4000;
const STATX_BASIC_STATS = 0x7ff;
const STATX_MNT_ID = 0x1000;
// Of `struct statx`, which is laid out alike everywhere.
const INODE_AT = 32;
const SIZE_AT = 40;
const CHANGED_AT = 96;
const MODIFIED_AT = 112;
const DEVICE_AT = 136;
const MOUNT_AT = 144;

// Written and read within one synchronous call.
const status = Buffer.alloc(256);

/**
 * What the kernel knows of an open file by itself, and by the number of which mount it was opened: its file system is not asked
 * (AT_STATX_DONT_SYNC). Behind FUSE, and behind an overlay over that, is a process which may let the agent wait for ever.
 *
 * @param fd `O_PATH` will do
 * @throws Error with `code`: `EACCES` where a file system tells its own user alone
 */
export function knownStatus(fd: number): FileStatus & { readonly mount: string } {
  checked('statx', libc.statx(fd, '', AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_BASIC_STATS | STATX_MNT_ID, status));
  return {
    dev: device(status.readUInt32LE(DEVICE_AT), status.readUInt32LE(DEVICE_AT + 4)),
    ino: status.readBigUInt64LE(INODE_AT),
    size: status.readBigUInt64LE(SIZE_AT),
    mtimeNs: timeAt(MODIFIED_AT),
    ctimeNs: timeAt(CHANGED_AT),
    mount: String(status.readBigUInt64LE(MOUNT_AT)),
  };
}

function timeAt(offset: number): bigint {
  return status.readBigInt64LE(offset) * 1_000_000_000n + BigInt(status.readUInt32LE(offset + 8));
}

/** As makedev(3) joins them. */
function device(major: number, minor: number): bigint {
  const [high, low] = [BigInt(major), BigInt(minor)];
  return ((high & ~0xfffn) << 32n) | ((high & 0xfffn) << 8n) | ((low & ~0xffn) << 12n) | (low & 0xffn);
}

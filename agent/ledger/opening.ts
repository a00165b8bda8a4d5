import { join } from 'node:path';
import { fileFailure } from '../kernel/private-files.ts';
import { damagedLedger, LEDGER_FILES } from './ledger-directory.ts';
import type { LedgerFiles } from './ledger-files.ts';
import { LedgerKey } from './ledger-key.ts';
import type { Head } from './record.ts';
import type { Replayed, StreamEnd } from './replay.ts';
import { cutTorn, endOfStream, replay } from './replay.ts';
import type { OpenSegment } from './segment-writer.ts';

/** Where a stream is gone on with. */
export interface StreamStart {
  readonly head: Head;
  readonly segment: OpenSegment | undefined;
}

/** A ledger as it was found, ready to be gone on with. */
export interface FoundLedger {
  readonly key: LedgerKey;
  readonly replayed: Replayed;
  readonly issuance: StreamStart;
  readonly use: StreamStart;
  /** Files whose torn end was cut off, and by how many bytes. */
  readonly repairs: readonly { readonly segment: string; readonly removedBytes: number }[];
}

/**
 * Reads a ledger, checks the parts that a start needs, and cuts off what was not durable. What is damaged is left as it is.
 *
 * @throws MayflyError `DATA_DIR_DAMAGED`, `DATA_DIR_UNSAFE`, `DISK_FULL`, `PERMISSION_MISSING`
 */
export async function findLedger(directory: string, files: LedgerFiles): Promise<FoundLedger> {
  LEDGER_FILES.secureDirectory(directory);
  const [issuance, use] = read(directory, () => [endOfStream(directory, 'issuance'), endOfStream(directory, 'use')]);
  // The first file of uses is begun once that of decisions is durable.
  if (issuance.newest === undefined && use.newest !== undefined) {
    throw damagedLedger(directory, 'has a record of uses and none of decisions');
  }
  const isFirst = issuance.newest === undefined;
  const key = LedgerKey.open(join(directory, 'key.pem'), isFirst ? 'first start' : 'damage');
  const replayed = read(directory, () => replay(issuance, key.thumbprint));
  const torn = [...issuance.torn, ...use.torn];
  cutTorn(directory, issuance);
  cutTorn(directory, use);
  return {
    key,
    replayed,
    issuance: await startOf(issuance, files),
    use: await startOf(use, files),
    repairs: torn.map(({ goodBytes, segment }) => ({
      segment: segment.name,
      removedBytes: segment.bytes - goodBytes,
    })),
  };
}

async function startOf({ head, newest }: StreamEnd, files: LedgerFiles): Promise<StreamStart> {
  if (newest === undefined) return { head, segment: undefined };
  const { scan, segment } = newest;
  try {
    const file = await files.open(segment.path);
    const firstBytes = scan.first?.bytes ?? 0;
    return { head, segment: { name: segment.name, file, bytes: scan.goodBytes, firstBytes } };
  } catch (error) {
    throw fileFailure('open', segment.path, error);
  }
}

function read<T>(directory: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw fileFailure('read', directory, error);
  }
}

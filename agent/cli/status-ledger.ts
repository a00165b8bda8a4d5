import { timestampDate } from '@bufbuild/protobuf/wkt';
import type { GetStatusResponse_Ledger as Ledger } from '../gen/admin_pb.js';
import { formatTime } from './moment.ts';
import type { FieldRow } from './output.ts';
import { byteText } from './output.ts';

/** What `status` says of the ledger: whether it can be written, how far it is, and what the start found in it. */
export function ledgerRows(ledger: Ledger | undefined): readonly FieldRow[] {
  if (ledger === undefined) return [];
  const { adopted, bytes, directory, error, head, key, lastBatch, lastFlushMs, pending, revokedAtStart } = ledger;
  const { checkpointAt, segments, sync, useHead, writable } = ledger;
  const checkpoint = checkpointAt === undefined ? 'none yet' : formatTime(timestampDate(checkpointAt));
  return [
    ['ledger', `${directory}, ${sync}${writable ? '' : `, NOT WRITABLE: ${error}`}`],
    [
      '',
      `${segments} files, ${byteText(bytes)}; last flush ${lastFlushMs.toFixed(1)} ms for ${lastBatch}, ${pending} waiting`,
    ],
    ['head', head],
    ['use head', useHead],
    ['checkpoint', `${checkpoint}${key === '' ? '' : `, signed by ${key}`}`],
    ['at start', adopted + revokedAtStart === 0 ? '' : `${adopted} leases taken over, ${revokedAtStart} revoked`],
  ];
}

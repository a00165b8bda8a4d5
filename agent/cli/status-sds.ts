import { timestampDate } from '@bufbuild/protobuf/wkt';
import type { GetStatusResponse_Sds_Rejection as Rejection, GetStatusResponse_Sds as Sds } from '../gen/admin_pb.js';
import { formatTime } from './moment.ts';
import type { FieldRow } from './output.ts';

/** What `status` says of SDS: nothing as long as no proxy has asked. */
export function sdsRows(sds: Sds | undefined): readonly FieldRow[] {
  if (sds === undefined) return [];
  const { accepted, deltaStreams, lastRejection, rejected, streams } = sds;
  if (accepted + rejected === 0n && streams + deltaStreams === 0) return [];
  const refused = rejected === 0n ? 'none rejected' : `${rejected} REJECTED`;
  return [
    ['sds', `${streams} streams and ${deltaStreams} delta streams; ${accepted} responses accepted, ${refused}`],
    ['', lastRejection && rejectionText(lastRejection)],
  ];
}

function rejectionText({ at, names, node, pid, reason }: Rejection): string {
  const when = at === undefined ? '' : ` at ${formatTime(timestampDate(at))}`;
  const whose = node === '' ? `process ${pid}` : `node ${node}, process ${pid}`;
  return `last rejected${when} by ${whose}: ${names.join(', ')}: ${reason}`;
}

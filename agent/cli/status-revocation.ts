import { timestampDate } from '@bufbuild/protobuf/wkt';
import type {
  GetStatusResponse_Revocation_Lifetime as Lifetime,
  GetStatusResponse_Revocation_List as List,
  GetStatusResponse_Revocation as Revocation,
} from '../gen/admin_pb.js';
import { formatUntil } from './moment.ts';
import type { FieldRow } from './output.ts';
import { byteText, counted } from './output.ts';

/** What `status` says of revocation: whether lists are given out, what is on them, and what they cost in lifetime. */
export function revocationRows(revocation: Revocation | undefined, now: number): readonly FieldRow[] {
  if (revocation === undefined) return [];
  const { barred, bytes, certificates, givenOut, lastDelayMs, lifetimes, lists, maxBytes, pushes, reason, tokens } =
    revocation;
  return [
    ['revocation', `lists are ${givenOut ? '' : 'NOT '}given out${reason === '' ? '' : `: ${reason}`}`],
    [
      '',
      `${counted(certificates, 'certificate')} and ${counted(tokens, 'token')} revoked${barred === 0 ? '' : `, ${counted(barred, 'process', 'processes')} barred`}`,
    ],
    ...lists.map((list): FieldRow => ['', listText(list, now)]),
    [
      '',
      givenOut
        ? `${byteText(bytes)} of ${byteText(maxBytes)}; pushed ${pushes} times, the last ${lastDelayMs.toFixed(1)} ms after what it tells of`
        : '',
    ],
    ...lifetimes.map((lifetime): FieldRow => ['shortened', lifetimeText(lifetime)]),
  ];
}

function listText({ bytes, certificates, issuer, nextUpdate, number, use }: List, now: number): string {
  const next = nextUpdate === undefined ? '' : `, next by ${formatUntil(timestampDate(nextUpdate), now)}`;
  return `list ${number} of ${use} ${issuer}: ${counted(certificates, 'certificate')}, ${byteText(bytes)}${next}`;
}

function lifetimeText({ age, deathsPerSecond, entryId, lifetime, spiffeId }: Lifetime): string {
  const who =
    age === 0
      ? 'first certificates'
      : Number.isFinite(age)
        ? `certificates of processes up to ${seconds(age)} old`
        : 'certificates of processes of any age';
  return `${who} of ${entryId} (${spiffeId}) to ${seconds(lifetime)}, at ${deathsPerSecond.toFixed(1)} deaths a second`;
}

function seconds(count: number): string {
  return `${Math.round(count * 10) / 10}s`;
}

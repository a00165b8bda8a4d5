import { Command, Option } from 'commander';
import { MayflyError } from '../kernel/errors.ts';
import type { Head } from '../ledger/record.ts';
import type { Expectation } from '../ledger/record-check.ts';
import type { Fault, Verification } from '../ledger/verify.ts';
import { verifyLedger } from '../ledger/verify.ts';
import type { PlaceOptions } from './audit-place.ts';
import { ledgerDirectory, withPlace } from './audit-place.ts';
import type { Invocation } from './invocation.ts';
import { invocationOf } from './invocation.ts';
import type { FieldRow } from './output.ts';
import { AnsweredNo, counted, fields } from './output.ts';
import { optionOf } from './program.ts';
import type { Terminal } from './terminal.ts';

interface VerifyOptions extends PlaceOptions {
  readonly head?: Head;
  readonly useHead?: Head;
  readonly key?: string;
}

interface Verified {
  readonly verification: Verification;
  readonly expectation: Expectation;
}

/** `mayfly audit verify` */
export function auditVerifyCommand(terminal: Terminal): Command {
  return withPlace(new Command('verify'))
    .description(
      'Check that the ledger is what was written: each record, their chain, the signed checkpoints. Says how far that reaches. The exit code is 1 when something is wrong.',
    )
    .addOption(
      new Option('--head <seq:hash>', "a head noted earlier, of 'mayfly audit head', the log or status").argParser(
        optionOf(parseHead),
      ),
    )
    .addOption(new Option('--use-head <seq:hash>', 'the same of the use stream').argParser(optionOf(parseHead)))
    .option('--key <thumbprint>', "the key that signs checkpoints, noted earlier, of 'mayfly status'")
    .action((_options: unknown, command: Command) => verify(invocationOf<VerifyOptions>(command, terminal)));
}

async function verify(invocation: Invocation<VerifyOptions>): Promise<void> {
  const { options, output } = invocation;
  const directory = await ledgerDirectory(invocation);
  const key = options.key === undefined ? {} : { key: options.key };
  const expectations: readonly Expectation[] = [
    { ...key, ...(options.head !== undefined && { head: options.head }) },
    { ...key, ...(options.useHead !== undefined && { head: options.useHead }) },
  ];
  const streams = (['issuance', 'use'] as const).map((stream, index): Verified => {
    const expectation = expectations[index] ?? {};
    return { verification: verifyLedger(directory, stream, expectation), expectation };
  });
  const ok = streams.every(({ verification }) => verification.problems.length === 0);
  output.result({ ok, directory, streams: streams.map(verifiedJson) }, () => streams.flatMap(verifiedLines));
  if (!ok) throw new AnsweredNo();
}

/** Parses `SEQ:HASH`. @throws MayflyError `INVALID_REQUEST` */
function parseHead(text: string): Head {
  const [, seq = '', hash = ''] = /^(\d{1,15}):([0-9a-f]{64})$/.exec(text.trim().toLowerCase()) ?? [];
  if (hash === '') {
    throw new MayflyError('INVALID_REQUEST', "it is no head; write SEQ:HASH, as 'mayfly audit head' prints it");
  }
  return { seq: Number(seq), hash };
}

function verifiedLines({ verification, expectation }: Verified): string[] {
  const { checkpoints, first, head, keys, last, problems, records, segments, stream, unfinished } = verification;
  const range: FieldRow[] =
    first === undefined || last === undefined
      ? []
      : [
          [
            'first',
            `${first.seq}, ${first.time}${first.seq > 1 && problems.length === 0 ? '; those before are no longer kept' : ''}`,
          ],
          ['last', `${last.seq}, ${last.time}`],
        ];
  const faults = counted(problems.length, 'fault');
  return [
    `${stream}: ${problems.length === 0 ? 'nothing is wrong' : `NOT AS IT WAS WRITTEN, ${faults}`}`,
    ...problems.map((fault) => `  ! ${faultText(fault)}`),
    ...fields([
      ['checked', `${counted(records, 'record')} in ${counted(segments, 'file')}, ${checkpoints} signed`],
      ...range,
      ['head', head && `${head.seq}:${head.hash}`],
      ...keys.map((key): FieldRow => ['key', key]),
      ['unfinished', unfinished ? 'the last line: it is being written, or was when an agent crashed' : ''],
      ...(problems.length === 0 ? claims(verification, expectation).map((claim): FieldRow => ['claim', claim]) : []),
    ]),
  ];
}

/** What can be said for sure of a stream without faults: no more than what it was held against allows. */
function claims({ head, records, stream }: Verification, expectation: Expectation): readonly string[] {
  if (records === 0 || head === undefined) return ['there is nothing in it'];
  const from = expectation.head;
  const option = stream === 'issuance' ? '--head' : '--use-head';
  const later = from === undefined ? 0 : head.seq - from.seq;
  return [
    from === undefined
      ? `the chain is whole as far as it goes; whether records are missing at its end cannot be told without ${option}`
      : `nothing up to record ${from.seq} was changed, removed or added${later === 0 ? '' : `; of the ${later} after it, whether some are missing at the end cannot be told`}`,
    ...(expectation.key === undefined && from === undefined
      ? [`whether all of it was written anew with another key cannot be told without ${option} or --key`]
      : []),
    ...(expectation.key === undefined ? [] : ['each signed record is signed by the key that was given']),
  ];
}

function faultText({ segment, line, seq, message }: Fault): string {
  const place = [segment, line === undefined ? '' : `line ${line}`, seq === undefined ? '' : `record ${seq}`];
  return `${place.filter((part) => part !== '').join(', ')}: ${message}`;
}

function verifiedJson({ verification, expectation }: Verified) {
  const { first, head, last } = verification;
  return {
    ...verification,
    first: first ?? null,
    last: last ?? null,
    head: head === undefined ? null : `${head.seq}:${head.hash}`,
    against: {
      head: expectation.head === undefined ? null : `${expectation.head.seq}:${expectation.head.hash}`,
      key: expectation.key ?? null,
    },
  };
}

import { timestampMs } from '@bufbuild/protobuf/wkt';
import { counter, gauge, group, samplesBy, seconds, truth } from './family.ts';

/** The record of decisions, and the disk that it is on. */
export const ledgerFigures = group(
  'The ledger',
  {
    mayfly_ledger_writable: gauge('Whether what is issued can be recorded; nothing is issued while it cannot.'),
    mayfly_ledger_outage_start_timestamp_seconds: gauge('Since when it cannot; absent while it can.'),
    mayfly_ledger_pending_records: gauge('Records of decisions that wait to be written.'),
    mayfly_ledger_lag_seconds: gauge('For how long the oldest record of either stream has waited.'),
    mayfly_ledger_records_total: counter('Records ever written, also by agents before this one.', 'stream'),
    mayfly_ledger_lost_total: counter(
      'Refusals and uses that were not recorded, since too much waited or there was no room.',
      'what',
    ),
    mayfly_ledger_size_bytes: gauge('The size of its files.'),
    mayfly_ledger_size_limit_bytes: gauge('The size above which the oldest are removed: ledger.max_size.'),
    mayfly_ledger_segments: gauge('How many files there are.'),
    mayfly_ledger_checkpoint_timestamp_seconds: gauge('When its state was last written down, signed.'),
    mayfly_data_dir_size_bytes: gauge('The size of the file system that data_dir is on.'),
    mayfly_data_dir_available_bytes: gauge('How much of it is left.'),
  },
  ({ config, disk, ledger, now }) => {
    const status = ledger.status();
    const { lost, outageSince, waitingSince } = ledger.figures();
    return {
      mayfly_ledger_writable: truth(status.writable),
      mayfly_ledger_outage_start_timestamp_seconds: outageSince === undefined ? undefined : seconds(outageSince),
      mayfly_ledger_pending_records: status.pending,
      mayfly_ledger_lag_seconds: waitingSince === undefined ? 0 : seconds(Math.max(0, now - waitingSince)),
      mayfly_ledger_records_total: samplesBy('stream', [
        ['issuance', ledger.head.seq],
        ['use', ledger.useHead.seq],
      ]),
      mayfly_ledger_lost_total: samplesBy('what', Object.entries(lost)),
      mayfly_ledger_size_bytes: Number(status.bytes),
      mayfly_ledger_size_limit_bytes: config.value.ledger.maxSize,
      mayfly_ledger_segments: status.segments,
      mayfly_ledger_checkpoint_timestamp_seconds:
        status.checkpointAt === undefined ? undefined : seconds(timestampMs(status.checkpointAt)),
      mayfly_data_dir_size_bytes: disk?.size,
      mayfly_data_dir_available_bytes: disk?.available,
    };
  },
);

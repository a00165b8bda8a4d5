import { hash } from 'node:crypto';
import { messageOf } from '../kernel/errors.ts';
import { canonicalJson } from './canonical-json.ts';
import { NO_RECORD } from './chain.ts';
import { signatureProblem } from './ledger-key.ts';
import type { AnyRecord, Checkpoint, Head, SignedFields } from './record.ts';
import { ReplayState } from './replay-state.ts';
import type { Segment } from './segments.ts';
import { stateFromJson, stateText } from './state-json.ts';

/** What is wrong with a record: a sentence, and its number where one can be told. */
export interface RecordProblem {
  readonly seq?: number;
  readonly message: string;
}

/** What a stream is held against. */
export interface Expectation {
  /** A record that is known from elsewhere to be there: makes a cut tail visible. */
  readonly head?: Head;
  /** The thumbprint of the key that signed the checkpoints, known from elsewhere. */
  readonly key?: string;
}

type Place = { readonly seq: number; readonly time: string };

/**
 * Goes through the records of a stream in order. Of each file it tells the first record that is wrong, and takes the chain up again
 * behind the last one, so that one fault is not told twice.
 */
export class RecordCheck {
  records = 0;
  checkpoints = 0;
  first: Place | undefined;
  last: Place | undefined;
  /** The newest record whose hash is its own. */
  head: Head | undefined;
  readonly keys = new Set<string>();
  readonly #expectation: Expectation;
  #segment: Segment | undefined;
  #recordsBefore = 0;
  #faulty = false;
  /** The record before, unless it is not known what it was. */
  #before: Head | undefined = NO_RECORD;
  /** What the records come to; unknown behind a fault until the next checkpoint. */
  #state: ReplayState | undefined = new ReplayState();
  /** The latest time of any record: what was over by then may have been forgotten, also when the clock was set back since. */
  #latest = 0;
  #headSeen = false;

  constructor(expectation: Expectation) {
    this.#expectation = expectation;
  }

  /** Goes on to the next file. */
  begin(segment: Segment): void {
    this.#segment = segment;
    this.#recordsBefore = this.records;
    this.#faulty = false;
  }

  /** Looks at the next record. Behind the first fault in a file nothing more is told of it. */
  record(line: Buffer): RecordProblem | undefined {
    const isFirst = this.records === this.#recordsBefore;
    this.records += 1;
    const read = readRecord(line);
    if (typeof read === 'string') {
      const seq = this.#before === undefined ? undefined : this.#before.seq + 1;
      this.#before = undefined;
      return this.#fault({ message: read, ...(seq !== undefined && { seq }) });
    }
    const { seq, time } = read;
    const message = this.#wrongPlace(read, isFirst) ?? this.#wrongSignature(read, isFirst) ?? this.#wrongHead(read);
    this.#before = { seq, hash: read._hash };
    this.head = this.#before;
    this.first ??= { seq, time };
    this.last = { seq, time };
    if (message !== undefined) return this.#fault({ seq, message });
    const wrong = this.#wrongContent(read);
    return wrong === undefined ? undefined : this.#fault({ seq, message: wrong });
  }

  /** What is wrong with the file as a whole. */
  end(): RecordProblem | undefined {
    if (this.records > this.#recordsBefore) return undefined;
    return { message: 'the file has no record' };
  }

  /** What is wrong with the stream as a whole: the record that must be there is not. */
  missingHead(): RecordProblem | undefined {
    const { head } = this.#expectation;
    if (head === undefined || this.#headSeen) return undefined;
    if (this.first !== undefined && head.seq < this.first.seq) {
      return { seq: head.seq, message: `record ${head.seq} is no longer kept; use a head that is newer` };
    }
    const end = this.last === undefined ? 'it has no record at all' : `its last record is ${this.last.seq}`;
    return { seq: head.seq, message: `record ${head.seq} must be there and is not: ${end}` };
  }

  #fault(problem: RecordProblem): RecordProblem | undefined {
    this.#state = undefined;
    if (this.#faulty) return undefined;
    this.#faulty = true;
    return problem;
  }

  #wrongPlace({ prev, seq }: AnyRecord, isFirst: boolean): string | undefined {
    if (isFirst && seq !== this.#segment?.firstSeq) return 'the file begins with another record than its name says';
    // What was kept begins with a signed record, which vouches for what is gone.
    if (this.records === 1 && seq !== 1) {
      this.#state = undefined;
      return undefined;
    }
    const before = this.#before;
    if (before === undefined) return undefined;
    if (seq > before.seq + 1) return `records are missing before it: the one before is ${before.seq}`;
    if (seq !== before.seq + 1) return `it is out of order: the record before is ${before.seq}`;
    return prev === before.hash ? undefined : 'it does not follow the record before: that one was another';
  }

  #wrongSignature(record: AnyRecord, isFirst: boolean): string | undefined {
    if (record.type !== 'checkpoint' && record.type !== 'segment') {
      return isFirst ? 'the file does not begin with a signed record' : undefined;
    }
    this.checkpoints += 1;
    const problem = signatureProblem(record) ?? this.#wrongKey(record);
    if (problem === undefined) this.keys.add(record.key);
    return problem;
  }

  #wrongKey({ key }: SignedFields): string | undefined {
    const expected = this.#expectation.key ?? this.keys.values().next().value ?? key;
    return key === expected ? undefined : `it is signed by the key ${key}, not by ${expected}`;
  }

  #wrongHead({ _hash, seq }: AnyRecord): string | undefined {
    const { head } = this.#expectation;
    if (seq !== head?.seq) return undefined;
    this.#headSeen = true;
    return _hash === head.hash ? undefined : 'it is another record than the head says: this part was written anew';
  }

  /** Applies the record, or compares a checkpoint with what the records before it come to. */
  #wrongContent(record: AnyRecord): string | undefined {
    const time = Date.parse(record.time);
    this.#latest = Math.max(this.#latest, time);
    try {
      if (record.type === 'checkpoint') return this.#wrongState(record);
      if (record.type === 'segment' || 'caller' in record) return undefined;
      this.#state?.apply(record, { time, bootId: record.boot_id });
      return undefined;
    } catch (error) {
      return `it makes no sense: ${messageOf(error)}`;
    }
  }

  #wrongState({ state: json, time }: Checkpoint & { readonly time: string }): string | undefined {
    const state = stateFromJson(json);
    const replayed = this.#state;
    this.#state = state;
    if (replayed === undefined) return undefined;
    if (stateText(state, this.#latest) === stateText(replayed, this.#latest)) return undefined;
    return `the state in it is not what the records before it come to at ${time}`;
  }
}

/** The record of a line, or what is wrong with the line. */
function readRecord(line: Buffer): AnyRecord | string {
  const text = line.toString();
  let record: AnyRecord;
  let content: string;
  try {
    record = JSON.parse(text);
    if (canonicalJson(record) !== text) return 'the line is not canonical JSON';
    content = canonicalJson({ ...record, _hash: undefined });
  } catch {
    return 'the line is no record';
  }
  if (hash('sha256', content) !== record._hash) return 'it is not what was written: its hash is another';
  return Number.isSafeInteger(record.seq) && typeof record.time === 'string' ? record : 'the line is no record';
}

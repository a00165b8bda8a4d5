import { MayflyError } from '../../kernel/errors.ts';
import { decodeHuffman, maxDecodedLength } from './huffman.ts';

/** The three names that matter to who looks for a request's authority. */
export type FieldName = 'authority' | 'host' | 'other';

/** What is remembered of a field in a table; never its text. */
export interface Field {
  readonly name: FieldName;
  readonly nameLength: number;
  /** Whether its value may stand in a request. */
  readonly legal: boolean;
}

interface Entry extends Field {
  readonly size: number;
  /** How many entries were withheld from the other side's table up to and with this one. */
  readonly withheld: number;
}

// RFC 7541, appendix A, from index 1.
const STATIC_NAMES = (
  ':authority :method :method :path :path :scheme :scheme :status :status :status :status :status :status :status ' +
  'accept-charset accept-encoding accept-language accept-ranges accept access-control-allow-origin age allow ' +
  'authorization cache-control content-disposition content-encoding content-language content-length content-location ' +
  'content-range content-type cookie date etag expect expires from host if-match if-modified-since if-none-match ' +
  'if-range if-unmodified-since last-modified link location max-forwards proxy-authenticate proxy-authorization range ' +
  'referer refresh retry-after server set-cookie strict-transport-security transfer-encoding user-agent vary via ' +
  'www-authenticate'
).split(' ');

// The static :authority and host have empty values, which are not legal.
const STATIC_FIELDS: readonly Field[] = STATIC_NAMES.map((name) => ({
  name: fieldName(Buffer.from(name, 'latin1')),
  nameLength: name.length,
  legal: false,
}));

/** The static table's index of `:authority`. */
export const AUTHORITY_INDEX = 1;

/** SETTINGS_HEADER_TABLE_SIZE where the server names no other, and ours never does. */
const MAX_TABLE_BYTES = 4096;

const ENTRY_OVERHEAD_BYTES = 32;

/**
 * The dynamic table as the sender of a connection's header blocks keeps it (RFC 7541, section 2.3), without the texts, beside that
 * of a receiver from whom some fields are withheld. The receiver evicts later than the sender, since its table is never fuller, so
 * what the sender may refer to is always there; only the index differs, by the number of withheld fields that are newer.
 */
export class FieldTable {
  /** Oldest first; 128 at most. */
  readonly #entries: Entry[] = [];
  #size = 0;
  #maxSize = MAX_TABLE_BYTES;
  #withheld = 0;

  /** @throws MayflyError `INVALID_REQUEST` when `index` (of the sender) is in neither table */
  field(index: number): Field {
    const field = STATIC_FIELDS[index - 1] ?? this.#entry(index);
    if (field === undefined) throw new MayflyError('INVALID_REQUEST', `HPACK index ${index} is in no table`);
    return field;
  }

  /** The receiver's index of a field that it has. */
  receiverIndex(index: number): number {
    const entry = this.#entry(index);
    return entry === undefined ? index : index - (this.#withheld - entry.withheld);
  }

  /** Adds a field that the sender adds; the receiver does so unless it is `withheld`. */
  insert(field: Field, valueLength: number, withheld: boolean): void {
    const { name, nameLength, legal } = field;
    const size = nameLength + valueLength + ENTRY_OVERHEAD_BYTES;
    this.#evict(this.#maxSize - size);
    // A field that is larger than the table empties it and is not added: section 4.4.
    if (size > this.#maxSize) return;
    if (withheld) this.#withheld += 1;
    this.#entries.push({ name, nameLength, legal, size, withheld: this.#withheld });
    this.#size += size;
  }

  /** @throws MayflyError `INVALID_REQUEST` when `maxSize` is over what the server allows */
  resize(maxSize: number): void {
    if (maxSize > MAX_TABLE_BYTES) {
      throw new MayflyError(
        'INVALID_REQUEST',
        `an HPACK table of ${maxSize} bytes; at most ${MAX_TABLE_BYTES} are allowed`,
      );
    }
    this.#maxSize = maxSize;
    this.#evict(maxSize);
  }

  #entry(index: number): Entry | undefined {
    return this.#entries[this.#entries.length + STATIC_FIELDS.length - index];
  }

  #evict(maxSize: number): void {
    while (this.#size > Math.max(0, maxSize)) this.#size -= this.#entries.shift()?.size ?? this.#size;
  }
}

// Where the Huffman-coded string that was read last was decoded to: one for all, since reading is synchronous.
let scratch = Buffer.allocUnsafe(1024);

/** Reads the primitive types of a header block (RFC 7541, section 5), from its beginning. */
export class HpackReader {
  readonly #bytes: Buffer;
  at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get done(): boolean {
    return this.at >= this.#bytes.length;
  }

  /** The byte that comes next, which is not taken. */
  peek(): number {
    return this.#bytes[this.at] ?? 0;
  }

  /** @throws MayflyError `INVALID_REQUEST` when it is cut off, or longer than the 32 bits that nghttp2 takes */
  integer(prefixBits: number): number {
    const max = 2 ** prefixBits - 1;
    let value = this.peek() & max;
    this.at += 1;
    if (value < max) return value;
    for (let shift = 0; shift < 32; shift += 7) {
      const byte = this.#bytes[this.at];
      if (byte === undefined) break;
      this.at += 1;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw new MayflyError('INVALID_REQUEST', 'an HPACK integer is cut off or has more than 32 bits');
  }

  /**
   * The bytes of a string literal, decoded; valid until the next call.
   *
   * @throws MayflyError `INVALID_REQUEST`
   */
  string(): Buffer {
    const huffman = this.peek() >= 0x80;
    const start = this.#skipString();
    if (!huffman) return this.#bytes.subarray(start, this.at);
    const room = maxDecodedLength(this.at - start);
    if (room > scratch.length) scratch = Buffer.allocUnsafe(room);
    return scratch.subarray(0, decodeHuffman(this.#bytes, start, this.at, scratch));
  }

  /** Goes on behind a string literal whose text is of no interest. */
  skipString(): void {
    this.#skipString();
  }

  #skipString(): number {
    const length = this.integer(7);
    const start = this.at;
    if (length > this.#bytes.length - start) throw new MayflyError('INVALID_REQUEST', 'an HPACK string is cut off');
    this.at = start + length;
    return start;
  }
}

/** Writes an integer with a prefix of `prefixBits` beside the bits of `pattern` (RFC 7541, section 5.1). */
export function encodeInteger(pattern: number, prefixBits: number, value: number): Buffer {
  const max = 2 ** prefixBits - 1;
  if (value < max) return Buffer.from([pattern | value]);
  const bytes = [pattern | max];
  let rest = value - max;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push(0x80 | (rest & 0x7f));
  bytes.push(rest);
  return Buffer.from(bytes);
}

/** Which of the three a literal name is. */
export function fieldName(name: Buffer): FieldName {
  // The length first: it makes strings of nearly no name.
  if (name.length === 10 && name.toString('latin1') === ':authority') return 'authority';
  if (name.length === 4 && name.toString('latin1') === 'host') return 'host';
  return 'other';
}

import { MayflyError } from '../../kernel/errors.ts';
import { joinHeaderFrames, splitHeaderFrames } from './frames.ts';
import { AUTHORITY_INDEX, encodeInteger, type Field, FieldTable, fieldName, HpackReader } from './hpack.ts';

/**
 * The bytes that nghttp2 1.70, the HTTP/2 of Node 26, takes in `:authority` and `host`: 81 of 256, wherever they stand. One other
 * byte, or an empty value, and it resets the stream. A request without `:authority` passes when a legal `host` stands for it; next
 * to a legal `:authority` a `host` that holds other bytes is ignored.
 */
const LEGAL_BYTES = "!$%&'()*+,-.0123456789:;=ABCDEFGHIJKLMNOPQRSTUVWXYZ[]_abcdefghijklmnopqrstuvwxyz~";

const legalBytes = new Uint8Array(256);
for (const byte of Buffer.from(LEGAL_BYTES, 'latin1')) legalBytes[byte] = 1;

/** What is said instead: on a socket of the file system no authority means more than another. */
const STAND_IN = 'localhost';

// Without indexing: the table of nghttp2 stays as it is.
const STAND_IN_LITERAL = Buffer.concat([
  Buffer.from([AUTHORITY_INDEX, STAND_IN.length]),
  Buffer.from(STAND_IN, 'latin1'),
]);

// A second `:authority` is an error of the client's, and nghttp2's to refuse: it gets another that it refuses, as short as any.
const EMPTY_AUTHORITY = encodeInteger(0x80, 7, AUTHORITY_INDEX);

/** True for a value of `:authority` that nghttp2 takes. */
export function isLegalAuthority(value: Uint8Array): boolean {
  for (const byte of value) if (legalBytes[byte] === 0) return false;
  return value.length > 0;
}

/**
 * The header blocks of one connection's client, from its first on. What is not legal in `:authority` is replaced, what is missing
 * is added; everything else remains as the client wrote it. A refused authority that the client put into its dynamic table is
 * withheld from nghttp2's, and the indices of older fields are shifted by it.
 */
export class RequestHeaders {
  readonly #table = new FieldTable();
  #lastStream = 0;

  /**
   * Looks at a whole HEADERS frame with its CONTINUATION frames. Returns the frames to send instead, or `undefined` when they are
   * good as they are.
   *
   * @throws MayflyError `INVALID_REQUEST` for what cannot be read; the connection must not go on, since the tables are lost
   */
  rewriteFrames(data: Buffer, start: number, end: number): Buffer | undefined {
    const frames = joinHeaderFrames(data, start, end);
    // Trailers come on a stream that was there before, and have no pseudo-header fields.
    const request = frames.stream % 2 === 1 && frames.stream > this.#lastStream;
    if (request) this.#lastStream = frames.stream;
    const block = this.rewriteBlock(frames.block, request);
    return block === undefined ? undefined : splitHeaderFrames({ ...frames, block });
  }

  /** The same for a header block by itself, of a request or of trailers. */
  rewriteBlock(block: Buffer, request: boolean): Buffer | undefined {
    const walk = new BlockWalk(block, this.#table);
    return walk.run(request);
  }
}

/** One pass over one header block. */
class BlockWalk {
  readonly #block: Buffer;
  readonly #table: FieldTable;
  readonly #reader: HpackReader;
  #authority = false;
  #host = false;
  /** The rewritten block; made when the first byte differs. It holds what the block says up to `#copied`. */
  #out: Buffer | undefined;
  #length = 0;
  #copied = 0;

  constructor(block: Buffer, table: FieldTable) {
    this.#block = block;
    this.#table = table;
    this.#reader = new HpackReader(block);
  }

  run(request: boolean): Buffer | undefined {
    const reader = this.#reader;
    while (!reader.done && isSizeUpdate(reader.peek())) this.#table.resize(reader.integer(5));
    const fields = reader.at;
    while (!reader.done) this.#field();
    const rewritten = this.#finish();
    if (!request || this.#authority || this.#host) return rewritten;
    // Before the first field, since pseudo-header fields stand before all others. No edit reaches so far to the front.
    const source = rewritten ?? this.#block;
    return Buffer.concat([source.subarray(0, fields), STAND_IN_LITERAL, source.subarray(fields)]);
  }

  #field(): void {
    const start = this.#reader.at;
    const first = this.#reader.peek();
    if (first & 0x80) this.#indexed(start);
    else if (first & 0x40) this.#literal(start, 0x40, 6);
    else if (isSizeUpdate(first))
      throw new MayflyError('INVALID_REQUEST', 'an HPACK table size changes between two fields');
    else this.#literal(start, first & 0x10, 4);
  }

  #indexed(start: number): void {
    const index = this.#reader.integer(7);
    const field = this.#table.field(index);
    if (this.#isRefused(field)) return this.#standIn(start);
    this.#note(field);
    const receivers = this.#table.receiverIndex(index);
    if (receivers !== index) this.#replace(start, this.#reader.at, encodeInteger(0x80, 7, receivers));
  }

  #literal(start: number, pattern: number, prefixBits: number): void {
    const reader = this.#reader;
    const index = reader.integer(prefixBits);
    const headEnd = reader.at;
    const named = index > 0 ? this.#table.field(index) : literalName(reader.string());
    const indexing = pattern === 0x40;
    let field = named;
    let valueLength = 0;
    if (indexing || named.name !== 'other') {
      const value = reader.string();
      valueLength = value.length;
      field = { name: named.name, nameLength: named.nameLength, legal: isLegalAuthority(value) };
    } else {
      reader.skipString();
    }

    const refused = this.#isRefused(field);
    if (refused) {
      this.#standIn(start);
    } else {
      this.#note(field);
      // The name of a field that was withheld is in the static table too.
      const receivers = index > 0 && this.#isRefused(named) ? AUTHORITY_INDEX : this.#table.receiverIndex(index);
      if (receivers !== index) this.#replace(start, headEnd, encodeInteger(pattern, prefixBits, receivers));
    }
    if (indexing) this.#table.insert(field, valueLength, refused);
  }

  #isRefused(field: Field): boolean {
    return field.name === 'authority' && !field.legal;
  }

  #note({ name, legal }: Field): void {
    if (name === 'authority') this.#authority = true;
    if (name === 'host' && legal) this.#host = true;
  }

  #standIn(start: number): void {
    this.#replace(start, this.#reader.at, this.#authority ? EMPTY_AUTHORITY : STAND_IN_LITERAL);
    this.#authority = true;
  }

  #replace(start: number, end: number, bytes: Buffer): void {
    // No edit but the first stand-in is longer than what it replaces.
    this.#out ??= Buffer.allocUnsafe(this.#block.length + STAND_IN_LITERAL.length);
    this.#copyTo(this.#out, start);
    this.#length += bytes.copy(this.#out, this.#length);
    this.#copied = end;
  }

  #copyTo(out: Buffer, end: number): void {
    this.#length += this.#block.copy(out, this.#length, this.#copied, end);
  }

  #finish(): Buffer | undefined {
    if (this.#out === undefined) return undefined;
    this.#copyTo(this.#out, this.#block.length);
    return this.#out.subarray(0, this.#length);
  }
}

function literalName(name: Buffer): Field {
  return { name: fieldName(name), nameLength: name.length, legal: false };
}

function isSizeUpdate(first: number): boolean {
  return (first & 0xe0) === 0x20;
}

import { hash } from 'node:crypto';
import { canonicalJson } from './canonical-json.ts';
import type { Head, RecordFields } from './record.ts';

/** Before the first record. */
export const NO_RECORD: Head = { seq: 0, hash: '0'.repeat(64) };

/** What a record has beside its event, before it has a hash. */
export type Link = Omit<RecordFields, '_hash'>;

/** A record's event, or what makes it for a place in the chain: a signature covers the place. */
export type Body = object | ((link: Link) => object);

// `{"_hash":"` HASH `",` REST: the name with the underscore sorts before all others, which are lower case.
const OPENING = '{"_hash":"';
const HASH_END = OPENING.length + 64;
const REST = HASH_END + '",'.length;

const PREV = '"prev":"';
const SEQ = '"seq":';

/** The record that follows `head`, as one line without its newline. */
export function chained(body: Body, head: Head, at: { readonly time: string; readonly bootId: string }) {
  const link: Link = { seq: head.seq + 1, time: at.time, boot_id: at.bootId, prev: head.hash };
  const content = typeof body === 'function' ? body(link) : body;
  const text = canonicalJson({ ...content, ...link });
  const digest = hash('sha256', text);
  return { line: `${OPENING}${digest}",${text.slice(1)}`, head: { seq: link.seq, hash: digest } };
}

/** The hash that a line claims, when it is the hash of what the line says; else `undefined`. Nothing is parsed. */
export function hashOf(line: Buffer): string | undefined {
  if (line.length <= REST || line.toString('latin1', 0, OPENING.length) !== OPENING) return undefined;
  const claimed = line.toString('latin1', OPENING.length, HASH_END);
  // What was hashed begins with a brace where the line has the comma behind the hash.
  const brace = REST - 1;
  const comma = line[brace];
  if (comma !== 0x2c || line[HASH_END] !== 0x22) return undefined;
  line[brace] = 0x7b;
  const digest = hash('sha256', line.subarray(brace));
  line[brace] = comma;
  return digest === claimed ? digest : undefined;
}

/**
 * Whether a line whose hash holds names `head` as the record before it and has the next number. A string in a record cannot look so:
 * its quotation marks are escaped.
 */
export function follows(line: Buffer, head: Head): boolean {
  // The members behind these are short: from the end it is nearer.
  const prev = line.lastIndexOf(PREV) + PREV.length;
  const seq = line.indexOf(SEQ, prev) + SEQ.length;
  const expected = String(head.seq + 1);
  return (
    line.toString('latin1', prev, prev + head.hash.length) === head.hash &&
    line.toString('latin1', seq, seq + expected.length + 1) === `${expected},`
  );
}

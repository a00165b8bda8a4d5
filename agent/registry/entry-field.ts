import * as v from 'valibot';
import { parsed, text } from '../config/field.ts';
import { parseAudience } from '../kernel/audience.ts';
import { MayflyError } from '../kernel/errors.ts';
import { parseSpiffeId, type SpiffeId, spiffeIdProblem } from '../kernel/spiffe-id.ts';
import { hasBraces, Template } from './template.ts';

/** The name of an entry: 1 to 255 of `A-Z a-z 0-9 . _ -`, as SPIRE allows it. */
export const entryId = text('an entry id', (id) =>
  /^[A-Za-z0-9._-]{1,255}$/.test(id) ? undefined : 'is no entry id; use 1 to 255 of A-Z, a-z, 0-9, ".", "_" and "-"',
);

/** The identity, or a template of it. */
export const spiffeId = parsed(parseIdOrTemplate, 'a SPIFFE ID such as spiffe://example.org/payments');

/** An audience of tokens, as it is written. */
export const audience = parsed((text) => {
  const problem = placeholderFound(text);
  if (problem !== undefined) throw new MayflyError('INVALID_CONFIG', `${JSON.stringify(text)} ${problem}`);
  return parseAudience(text);
}, 'an audience');

const MAX_TEXT_BYTES = 1024;

/** Who answers for an identity: a line for people. */
export const owner = text('text that names somebody', (name) =>
  name.trim() === '' ? 'names nobody' : (lineProblem(name) ?? placeholderFound(name)),
);

/** Tells a workload with several identities which to use for what; '' says nothing. */
export const hint = text('text', (line) => lineProblem(line) ?? placeholderFound(line));

// RFC 1123 §2.1: letters, digits and hyphens, none at an end of a label; RFC 1035 §2.3.4: 63 bytes a label, 253 in all.
const LABEL = /^[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?$/;
const MAX_DNS_NAME = 253;

/** A DNS name for a certificate, in lower case, or a template of one; `*` may be the whole first label of three or more (RFC 6125 §6.4.3). */
export const dnsName = parsed(parseNameOrTemplate, 'a DNS name');

// What the values of a template are looked at for in its place.
const ANY_VALUE = 'x';
// `spiffe:`, nothing, and the trust domain.
const SEGMENTS_BEFORE_PATH = 3;

// RFC 3339 §5.6; a leap second is refused: no clock of this agent ever shows one.
const DATE_TIME =
  /^(\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01]))[Tt]((?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d)(?:\.\d+)?(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/;

/** A moment after RFC 3339, with its offset from UTC: milliseconds since the epoch. */
export const rfc3339 = v.pipe(
  text('a date and time such as 2027-01-31T12:00:00Z', (written) =>
    momentOf(written) === undefined
      ? 'is no date and time; write it after RFC 3339, such as 2027-01-31T12:00:00Z'
      : undefined,
  ),
  v.transform((written) => momentOf(written) ?? Number.NaN),
);

function lineProblem(line: string): string | undefined {
  if (Buffer.byteLength(line) > MAX_TEXT_BYTES) return `is longer than ${MAX_TEXT_BYTES} bytes`;
  // oxlint-disable-next-line no-control-regex -- the control characters are what is refused
  if (!line.isWellFormed() || /[\u0000-\u001f\u007f]/.test(line)) return 'has a control character or is no UTF-8';
  return undefined;
}

/**
 * A DNS name in lower case.
 *
 * @throws MayflyError `INVALID_CONFIG`
 */
export function parseDnsName(written: string): string {
  const problem = dnsNameProblem(written);
  if (problem !== undefined) throw new MayflyError('INVALID_CONFIG', `${JSON.stringify(written)} ${problem}`);
  return written.toLowerCase();
}

/** What looks like one would stay as it is, which nobody means. */
function placeholderFound(line: string): string | undefined {
  return line.includes('{{') ? 'has a placeholder, which only spiffe_id and dns_names may have' : undefined;
}

function parseIdOrTemplate(written: string): SpiffeId | Template {
  if (!hasBraces(written)) return parseSpiffeId(written);
  const template = Template.parse(written, '/');
  const problem = template.hasPlaceholderWithin(SEGMENTS_BEFORE_PATH)
    ? 'has a placeholder before its path; write the trust domain out, which is the agent’s own'
    : spiffeIdProblem(template.fill(() => ANY_VALUE));
  if (problem === undefined) return template;
  throw new MayflyError('INVALID_SPIFFE_ID', `SPIFFE ID ${JSON.stringify(written)} ${problem}`);
}

function parseNameOrTemplate(written: string): string | Template {
  if (!hasBraces(written)) return parseDnsName(written);
  const template = Template.parse(written, '.');
  const problem = dnsNameProblem(template.fill(() => ANY_VALUE));
  if (problem === undefined) return template;
  throw new MayflyError('INVALID_CONFIG', `${JSON.stringify(written)} ${problem}`);
}

function dnsNameProblem(name: string): string | undefined {
  if (name.length > MAX_DNS_NAME) return `is longer than ${MAX_DNS_NAME} bytes, the most a DNS name may have`;
  const [first = '', ...rest] = name.split('.');
  const labels = first === '*' ? rest : [first, ...rest];
  if (first === '*' && rest.length < 2) return 'is too wide a wildcard; write at least two labels behind "*."';
  if (name.includes('*') && first !== '*') return 'has a "*" that is not its whole first label';
  if (name.endsWith('.')) return 'ends with a dot; leave it out';
  if (!labels.every((label) => LABEL.test(label))) {
    return 'is no DNS name; use labels of 1 to 63 letters, digits and inner hyphens, joined by dots';
  }
  if (/^\d+$/.test(labels.at(-1) ?? '')) return 'is an address or ends in a number; only DNS names are allowed';
  return undefined;
}

function momentOf(written: string): number | undefined {
  const match = DATE_TIME.exec(written);
  if (match === null) return undefined;
  const [, day, time] = match;
  // JavaScript turns 30 February into 2 March.
  const plain = new Date(`${day}T${time}Z`);
  if (!plain.toISOString().startsWith(`${day}T${time}`)) return undefined;
  return Date.parse(written.toUpperCase());
}

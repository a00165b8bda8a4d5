import type { Branded } from './brand.ts';
import { MayflyError } from './errors.ts';

/** A trust domain's name, without scheme: `example.org`. Made by {@link parseTrustDomain} only. */
export type TrustDomain = Branded<'TrustDomain'>;

/** A SPIFFE ID in its one canonical spelling, `spiffe://example.org/a/b`. Made by {@link parseSpiffeId} only. */
export type SpiffeId = Branded<'SpiffeId'>;

const SCHEME = 'spiffe://';
// SPIFFE-ID §2.3: implementations MUST support URIs up to 2048 bytes and SHOULD NOT generate longer ones; §2.1: 255 bytes of name.
const MAX_ID_BYTES = 2048;
const MAX_TRUST_DOMAIN_BYTES = 255;
const TRUST_DOMAIN = /^[a-z0-9._-]+$/;
const SEGMENT = /^[A-Za-z0-9._-]+$/;

/**
 * Parses a trust domain's name (SPIFFE-ID §2.1): 1 to 255 of `a-z`, `0-9`, `.`, `-`, `_`.
 * The `spiffe://` form is accepted without a path, as operators copy it.
 *
 * @throws MayflyError `INVALID_TRUST_DOMAIN`
 */
export function parseTrustDomain(text: string): TrustDomain {
  const name = text.startsWith(SCHEME) ? text.slice(SCHEME.length) : text;
  const problem = trustDomainProblem(name);
  if (problem !== undefined) {
    throw new MayflyError('INVALID_TRUST_DOMAIN', `trust domain ${quote(text)} ${problem}`);
  }
  return name as TrustDomain;
}

/**
 * Parses a SPIFFE ID (SPIFFE-ID §2): `spiffe://`, a trust domain, and a path of segments of `A-Z a-z 0-9 . - _`; no empty, `.` or
 * `..` segment, no trailing slash, port, user, query, fragment or percent-encoding; at most 2048 bytes. The path may be absent:
 * that is the trust domain's own ID.
 *
 * @throws MayflyError `INVALID_SPIFFE_ID`
 */
export function parseSpiffeId(text: string): SpiffeId {
  const problem = spiffeIdProblem(text);
  if (problem !== undefined) throw new MayflyError('INVALID_SPIFFE_ID', `SPIFFE ID ${quote(text)} ${problem}`);
  return text as SpiffeId;
}

/** The trust domain of an ID. */
export function trustDomainOf(id: SpiffeId): TrustDomain {
  const slash = id.indexOf('/', SCHEME.length);
  return (slash < 0 ? id.slice(SCHEME.length) : id.slice(SCHEME.length, slash)) as TrustDomain;
}

/** The path of an ID with its leading slash, or `''` for a trust domain's own ID. */
export function pathOf(id: SpiffeId): string {
  const slash = id.indexOf('/', SCHEME.length);
  return slash < 0 ? '' : id.slice(slash);
}

/** The ID of a trust domain itself: `spiffe://example.org`. */
export function idOfTrustDomain(trustDomain: TrustDomain): SpiffeId {
  return `${SCHEME}${trustDomain}` as SpiffeId;
}

/** True when `text` may stand as one segment of a path. */
export function isPathSegment(text: string): boolean {
  return SEGMENT.test(text) && text !== '.' && text !== '..';
}

function trustDomainProblem(name: string): string | undefined {
  if (name === '') return 'is empty; name one, such as example.org';
  if (name.length > MAX_TRUST_DOMAIN_BYTES) return `is longer than ${MAX_TRUST_DOMAIN_BYTES} bytes`;
  if (!TRUST_DOMAIN.test(name)) {
    return /[A-Z]/.test(name)
      ? 'has an upper-case letter; only a-z, 0-9, ".", "-" and "_" are allowed'
      : 'has a character other than a-z, 0-9, ".", "-" and "_"; ports, paths and user names are not allowed';
  }
  return undefined;
}

/** Why a text is no SPIFFE ID, such that it reads well behind the text; `undefined` when it is one. */
export function spiffeIdProblem(text: string): string | undefined {
  if (!text.startsWith(SCHEME)) return `does not start with ${SCHEME}`;
  // Every accepted character is one byte, so the length in UTF-16 units is the length in bytes wherever the rest passes.
  if (text.length > MAX_ID_BYTES) return `is longer than ${MAX_ID_BYTES} bytes`;
  const [name = '', ...segments] = text.slice(SCHEME.length).split('/');
  const inName = trustDomainProblem(name);
  if (inName !== undefined) return `has a trust domain that ${inName}`;
  for (const [index, segment] of segments.entries()) {
    if (segment === '') {
      return index === segments.length - 1 ? 'ends with a slash' : 'has an empty path segment';
    }
    if (segment === '.' || segment === '..') return `has the path segment "${segment}"`;
    if (!SEGMENT.test(segment)) return 'has a path character other than A-Z, a-z, 0-9, ".", "-", "_" and "/"';
  }
  return undefined;
}

/** Input is shown short and escaped: it comes from strangers and goes to logs. */
function quote(text: string): string {
  return JSON.stringify(text.length > 120 ? `${text.slice(0, 120)}…` : text);
}

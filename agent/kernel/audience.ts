import type { Branded } from './brand.ts';
import { MayflyError } from './errors.ts';

/** One `aud` value of a JWT-SVID. Made by {@link parseAudience} only. */
export type Audience = Branded<'Audience'>;

/** At least one audience, sorted, none twice: the form under which tokens are cached and decided. */
export type Audiences = readonly [Audience, ...Audience[]];

const MAX_AUDIENCE_BYTES = 1024;

/**
 * Parses one audience: 1 to 1024 bytes of well-formed UTF-8 without control characters (RFC 7519 §4.1.3 leaves the rest to the
 * application).
 *
 * @throws MayflyError `AUDIENCE_MISSING` when empty, `INVALID_AUDIENCE` otherwise
 */
export function parseAudience(text: string): Audience {
  if (text === '') throw new MayflyError('AUDIENCE_MISSING', 'audience must be specified');
  if (Buffer.byteLength(text) > MAX_AUDIENCE_BYTES) {
    throw new MayflyError('INVALID_AUDIENCE', `an audience is longer than ${MAX_AUDIENCE_BYTES} bytes`);
  }
  // A lone surrogate or U+FFFD means that what the caller sent was no UTF-8: two such callers would share an audience.
  // oxlint-disable-next-line no-control-regex -- the control characters are what is refused
  if (!text.isWellFormed() || /[\u0000-\u001f\u007f\ufffd]/.test(text)) {
    throw new MayflyError('INVALID_AUDIENCE', 'an audience has a control character or is no UTF-8');
  }
  return text as Audience;
}

/**
 * Parses a request's audiences: at least one; sorted, without duplicates.
 *
 * @throws MayflyError `AUDIENCE_MISSING`, `INVALID_AUDIENCE`
 */
export function parseAudiences(texts: readonly string[]): Audiences {
  const [first, ...rest] = [...new Set(texts.map(parseAudience))].toSorted();
  if (first === undefined) throw new MayflyError('AUDIENCE_MISSING', 'audience must be specified');
  return [first, ...rest];
}

import type { Branded } from './brand.ts';
import { MayflyError } from './errors.ts';

/** `type:value` as SPIRE spells it, `unix:uid:1000`. Made by {@link parseSelector} and {@link selector} only. */
export type Selector = Branded<'Selector'>;

const TYPE = /^[a-z][a-z0-9_]*$/;

/**
 * Parses `type:value`. The type is lower-case; the value is everything behind the first colon, verbatim, and not empty.
 *
 * @throws MayflyError `INVALID_SELECTOR`
 */
export function parseSelector(text: string): Selector {
  const colon = text.indexOf(':');
  const type = colon < 0 ? text : text.slice(0, colon);
  if (colon < 0 || !TYPE.test(type)) {
    throw new MayflyError(
      'INVALID_SELECTOR',
      `selector ${JSON.stringify(text)} has no type; write type:value, such as unix:uid:1000`,
    );
  }
  if (colon === text.length - 1) {
    throw new MayflyError('INVALID_SELECTOR', `selector ${JSON.stringify(text)} has no value behind its type`);
  }
  return text as Selector;
}

/**
 * Makes a selector from what an attestor has found; every part but the last is a name of the attestor's own.
 * A newline or NUL in a value is kept: matching is by equality, and nothing splits a selector again.
 */
export function selector(type: string, ...parts: readonly [string, ...string[]]): Selector {
  return `${type}:${parts.join(':')}` as Selector;
}

/** The type of a selector, which says who makes it: `unix`. */
export function selectorType(of: Selector): string {
  return of.slice(0, of.indexOf(':'));
}

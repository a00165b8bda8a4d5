import { isIP } from 'node:net';
import * as v from 'valibot';
import { formatDuration, parseDuration, parseSize } from '../kernel/duration.ts';
import { isMayflyError } from '../kernel/errors.ts';
import { parseTrustDomain } from '../kernel/spiffe-id.ts';
import { variableProblem } from './credential.ts';
import { parseListenAddress } from './listen-address.ts';
import { show } from './problem.ts';

/** A mapping with these keys and no others. */
export function mapping<const E extends v.ObjectEntries>(entries: E) {
  // A list is an object to the library.
  return v.pipe(v.custom<v.InferInput<v.StrictObjectSchema<E, undefined>>>(isMapping), v.strictObject(entries));
}

/** A list of `min` to `max` items, which are looked at if there are as many. */
export function list<const S extends v.GenericSchema>(item: S, min: number, max: number) {
  return v.pipe(v.array(v.unknown()), v.minLength(min), v.maxLength(max), v.array(item));
}

/**
 * Text as it is written, if nothing is said against it.
 *
 * @param kind what it is, such that "must be …" reads well
 * @param problemOf what is wrong with a text, such that it reads well behind the text
 */
export function text(kind: string, problemOf: (text: string) => string | undefined) {
  return v.pipe(
    v.string(kind),
    v.rawCheck(({ dataset, addIssue }) => {
      const problem = dataset.typed ? problemOf(dataset.value) : undefined;
      if (problem !== undefined) addIssue({ message: `${show(dataset.value)} ${problem}` });
    }),
  );
}

/**
 * Text that goes through one of the kernel's parsers; its message becomes the problem's.
 *
 * @param kind what it is, such that "must be …" reads well
 */
export function parsed<T>(parse: (text: string) => T, kind = 'text') {
  return v.pipe(v.string(kind), parsing(parse));
}

/** A duration in milliseconds, between `min` and `max` (durations as they are written). */
export function duration(min: string, max: string) {
  const least = parseDuration(min);
  const most = parseDuration(max);
  return v.pipe(
    parsed(parseDuration, `a duration from ${min} to ${max}`),
    v.check(
      (ms) => ms >= least && ms <= most,
      ({ input }) => `must be from ${min} to ${max}, found ${formatDuration(input)}`,
    ),
  );
}

/** A size in bytes, between `min` and `max` (sizes as they are written). A bare number is bytes. */
export function size(min: string, max: string) {
  const least = parseSize(min);
  const most = parseSize(max);
  return v.pipe(
    v.custom<string | number>(isTextOrFinite, `a size from ${min} to ${max}`),
    v.transform(String),
    parsing(parseSize),
    v.check(
      (bytes) => bytes >= least && bytes <= most,
      ({ input }) => `must be from ${min} to ${max}, found ${input} bytes`,
    ),
  );
}

export const trustDomain = parsed(parseTrustDomain, 'the name of a trust domain');

/** A path in the file system, as it is written; who loads the file resolves it. */
export const filePath = text('a path', pathProblem);

/** A path, or nothing where there is none. */
export const optionalPath = text('a path', (path) => (path === '' ? undefined : pathProblem(path)));

/** The name or address of a machine, or nothing. */
export const optionalHost = text('a name or address', (host) =>
  host === '' || isIP(host) !== 0 || /^[A-Za-z0-9]([-A-Za-z0-9.]{0,251}[A-Za-z0-9])?$/.test(host)
    ? undefined
    : 'is no name or address of a machine; write it alone, without scheme and port',
);

/** The name of an environment variable. */
export const variableName = text('the name of an environment variable', (name) =>
  /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) ? undefined : 'is no name of an environment variable',
);

/** A file or several: `*`, `?` and `**` are wildcards. */
export const glob = text('a path', (pattern) => pathProblem(pattern) ?? wildcardProblem(pattern));

/** Who may use a file: permission bits in octal, as `chmod` takes them. A number is refused: YAML reads `0770` as 770. */
export const fileMode = v.pipe(
  text('a mode in octal and in quotes, such as "0770"', (mode) =>
    /^0?[0-7]{3}$/.test(mode) ? undefined : 'is no mode; write three octal digits, such as "0770"',
  ),
  v.transform((mode) => Number.parseInt(mode, 8)),
);

/** Where HTTP is served, as {@link parseListenAddress} reads it. */
export const listenAddress = text('an address, a path or off', (address) => {
  const parsed = parseListenAddress(address);
  return typeof parsed === 'string' ? parsed : undefined;
});

/** A name under which proxies ask for something that has no SPIFFE ID of its own. */
export const secretName = text('a name', (name) => {
  if (!/^[\x21-\x7e]{1,255}$/.test(name)) return 'is no name; use 1 to 255 letters, digits and signs, without spaces';
  if (name === '*') return 'means everything; choose another name';
  return name.startsWith('spiffe:') ? 'could be a SPIFFE ID, which each secret has by itself' : undefined;
});

function pathProblem(text: string): string | undefined {
  if (text === '') return 'is no path; name a file';
  if (text.startsWith('unix:')) return 'is an address; write the path alone, without unix:';
  // oxlint-disable-next-line no-control-regex -- the control characters are what is refused
  if (/[\u0000-\u001f\u007f]/.test(text)) return 'has a control character, which no path here may have';
  return variableProblem(text);
}

function wildcardProblem(pattern: string): string | undefined {
  if (!/[[\]{}!]/.test(pattern)) return undefined;
  return 'has one of [ ] { } !; only *, ? and ** are wildcards, write a second pattern instead';
}

function parsing<T>(parse: (text: string) => T) {
  return v.rawTransform<string, T>(({ dataset, addIssue, NEVER }) => {
    const written = dataset.value;
    try {
      return parse(written);
    } catch (error) {
      if (!isMayflyError(error)) throw error;
      // The parser quotes what it was given, however long.
      addIssue({ message: error.message.replaceAll(JSON.stringify(written), () => show(written)) });
      return NEVER;
    }
  });
}

function isTextOrFinite(value: unknown): boolean {
  return typeof value === 'string' || Number.isFinite(value);
}

function isMapping(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

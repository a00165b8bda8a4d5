import { z } from 'zod';
import { formatDuration, parseDuration, parseSize } from '../kernel/duration.ts';
import { isMayflyError } from '../kernel/errors.ts';
import { parseTrustDomain } from '../kernel/spiffe-id.ts';
import { show } from './problem.ts';

/**
 * Text that goes through one of the kernel's parsers; its message becomes the problem's.
 *
 * @param kind what it is, such that "must be …" reads well
 */
export function parsed<T>(parse: (text: string) => T, kind = 'text') {
  return z.string({ error: kind }).transform((text, context): T => attempt(text, context, parse));
}

/** A duration in milliseconds, between `min` and `max` (durations as they are written). */
export function duration(min: string, max: string) {
  const least = parseDuration(min);
  const most = parseDuration(max);
  return parsed(parseDuration, `a duration from ${min} to ${max}`).refine((ms) => ms >= least && ms <= most, {
    error: ({ input }) => `must be from ${min} to ${max}, found ${formatDuration(Number(input))}`,
  });
}

/** A size in bytes, between `min` and `max` (sizes as they are written). A bare number is bytes. */
export function size(min: string, max: string) {
  const least = parseSize(min);
  const most = parseSize(max);
  return z
    .union([z.number(), z.string()], { error: `a size from ${min} to ${max}` })
    .transform((written, context) => attempt(String(written), context, parseSize))
    .refine((bytes) => bytes >= least && bytes <= most, {
      error: ({ input }) => `must be from ${min} to ${max}, found ${String(input)} bytes`,
    });
}

export const trustDomain = parsed(parseTrustDomain, 'the name of a trust domain');

/** A path in the file system, as it is written; who loads the file resolves it. */
export const filePath = z.string({ error: 'a path' }).superRefine((text, context) => {
  const problem = pathProblem(text);
  if (problem !== undefined) context.addIssue({ code: 'custom', message: `${show(text)} ${problem}` });
});

/** A file or several: `*`, `?` and `**` are wildcards. */
export const glob = filePath.superRefine((text, context) => {
  if (/[[\]{}!]/.test(text)) {
    context.addIssue({
      code: 'custom',
      message: `${show(text)} has one of [ ] { } !; only *, ? and ** are wildcards, write a second pattern instead`,
    });
  }
});

function pathProblem(text: string): string | undefined {
  if (text === '') return 'is no path; name a file';
  if (text.startsWith('unix:')) return 'is an address; write the path alone, without unix:';
  // oxlint-disable-next-line no-control-regex -- the control characters are what is refused
  if (/[\u0000-\u001f\u007f]/.test(text)) return 'has a control character, which no path here may have';
  return undefined;
}

function attempt<T>(text: string, context: z.core.$RefinementCtx, parse: (text: string) => T): T {
  try {
    return parse(text);
  } catch (error) {
    if (!isMayflyError(error)) throw error;
    // The parser quotes what it was given, however long.
    const message = error.message.replaceAll(JSON.stringify(text), () => show(text));
    context.addIssue({ code: 'custom', message, input: text });
    return z.NEVER;
  }
}

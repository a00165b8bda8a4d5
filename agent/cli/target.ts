import { Option } from 'commander';
import { MayflyError } from '../kernel/errors.ts';
import { parseSpiffeId } from '../kernel/spiffe-id.ts';
import { parseSerial } from '../svid/serial.ts';
import { optionOf } from './program.ts';

/** Ways to say what a command is about. Of those that a command offers exactly one is given. */
export interface TargetOptions {
  readonly serial?: string;
  readonly jti?: string;
  readonly pid?: number;
  readonly spiffeId?: string;
  readonly entry?: string;
  /** A container, a pod or a unit. */
  readonly in?: string;
  readonly all?: true;
}

/** What is meant, as the admin service's requests have it. */
export type Target =
  | { readonly case: 'serial'; readonly value: string }
  | { readonly case: 'jti'; readonly value: string }
  | { readonly case: 'pid'; readonly value: number }
  | { readonly case: 'spiffeId'; readonly value: string }
  | { readonly case: 'entryId'; readonly value: string }
  | { readonly case: 'place'; readonly value: string }
  | { readonly case: 'all'; readonly value: true };

// The kernel's own bound is 2^22.
const MAX_PID = 2 ** 31 - 1;

export const serialOption = (does: string) =>
  new Option('--serial <hex>', `${does} one certificate`).argParser(optionOf((text) => parseSerial(text.trim())));
export const jtiOption = (does: string) => new Option('--jti <id>', `${does} one token`).argParser(optionOf(parseName));
export const pidOption = (does: string) =>
  new Option('--pid <number>', `${does} what one process has`).argParser(optionOf(parsePid));
export const spiffeIdOption = (does: string) =>
  new Option('--spiffe-id <id>', `${does} what the processes of one identity have`).argParser(optionOf(parseSpiffeId));
export const entryOption = (does: string) =>
  new Option('--entry <id>', `${does} what the processes of one entry have`).argParser(optionOf(parseName));
export const placeOption = (does: string) =>
  new Option(
    '--in <place>',
    `${does} what the processes in one container (an id, or its first 12 digits), pod (a uid, or NAMESPACE/NAME) or unit (a name, or an invocation) have`,
  ).argParser(optionOf(parseName));

/**
 * The one target among the options.
 *
 * @param offered the command's options, for the message
 * @throws MayflyError `INVALID_USAGE` for none, and for more than one
 */
export function targetOf(
  { serial, jti, pid, spiffeId, entry, in: place, all }: TargetOptions,
  offered: string,
): Target {
  const given: Target[] = [];
  if (serial !== undefined) given.push({ case: 'serial', value: serial });
  if (jti !== undefined) given.push({ case: 'jti', value: jti });
  if (pid !== undefined) given.push({ case: 'pid', value: pid });
  if (spiffeId !== undefined) given.push({ case: 'spiffeId', value: spiffeId });
  if (entry !== undefined) given.push({ case: 'entryId', value: entry });
  if (place !== undefined) given.push({ case: 'place', value: place });
  if (all !== undefined) given.push({ case: 'all', value: all });
  const [target, ...others] = given;
  if (target === undefined) throw new MayflyError('INVALID_USAGE', `what is meant? give one of ${offered}`);
  if (others.length > 0) {
    throw new MayflyError('INVALID_USAGE', `this means two things at once; give only one of ${offered}`);
  }
  return target;
}

/** A process number. @throws MayflyError `INVALID_REQUEST` */
export function parsePid(text: string): number {
  const pid = /^[1-9]\d{0,9}$/.test(text) ? Number(text) : Number.NaN;
  if (!(pid <= MAX_PID)) throw new MayflyError('INVALID_REQUEST', `${JSON.stringify(text)} is no process number`);
  return pid;
}

/** An id whose grammar the agent knows. */
function parseName(text: string): string {
  if (text === '') throw new MayflyError('INVALID_REQUEST', 'it is empty');
  return text;
}

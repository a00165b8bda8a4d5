import { MayflyError } from '../kernel/errors.ts';

// RFC 5280 §4.1.2.2: at most twenty octets.
const MAX_DIGITS = 40;

/**
 * Parses a certificate's serial as tools print it (`4D:01:AB`, `0x4d01ab`, `004d01ab`) to how the agent writes it: hexadecimal, in
 * lower case, without leading zeros.
 *
 * @throws MayflyError `INVALID_REQUEST`
 */
export function parseSerial(text: string): string {
  const digits = text.replace(/^0x/i, '').replaceAll(':', '').replace(/^0+/, '').toLowerCase();
  if (!/^[0-9a-f]+$/.test(digits) || digits.length > MAX_DIGITS) {
    throw new MayflyError(
      'INVALID_REQUEST',
      `${JSON.stringify(text)} is no serial; write it in hexadecimal, as 'mayfly leases' and OpenSSL do`,
    );
  }
  return digits;
}

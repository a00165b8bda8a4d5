/**
 * When an SVID is due for renewal: once a random 45 to 55 % of its lifetime is left, as SPIRE's agent does, so that processes
 * started together do not renew together. All times in whole milliseconds since the epoch.
 *
 * @param random a number in [0, 1)
 */
export function renewalTime(issuedAt: number, expiresAt: number, random: number): number {
  const left = (expiresAt - issuedAt) * (0.45 + random * 0.1);
  return Math.round(expiresAt - left);
}

/** Until when a token is handed out again: half its life, so that its receiver has at least the other half to use it. */
export function reuseUntil(issuedAt: number, expiresAt: number): number {
  return issuedAt + (expiresAt - issuedAt) / 2;
}

const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 30_000;

/**
 * How long to wait after the `failures`-th failed renewal in a row: doubling from half a second to half a minute, spread by a
 * quarter, and never so long that fewer than four tries fit into what is left.
 *
 * @param remaining milliseconds until the SVID expires; of one that has expired or never was, anything not above 0
 * @param random a number in [0, 1)
 */
export function retryDelay(failures: number, remaining: number, random: number): number {
  const doubled = Math.min(FIRST_RETRY_MS * 2 ** Math.min(failures - 1, 16), LONGEST_RETRY_MS);
  const spread = doubled * (0.75 + random * 0.5);
  return remaining > 0 ? Math.max(Math.min(spread, remaining / 4), FIRST_RETRY_MS / 2) : spread;
}

import type { Socket } from 'node:net';
import type { Clock } from '../../kernel/clock.ts';
import type { AuthorityRewriter } from './authority-rewriter.ts';

// A server's last words wait so long for a client that does not read them.
const LINGER_MS = 5000;

/**
 * Joins `client` to the near end of a socket pair, of which the server has the far one: what the client sends goes through
 * `rewriter`, what the server sends goes as it is. Each side is read no faster than the other takes it, the end of one is told to
 * the other after all that came before it, and when both have ended, or one breaks, both are closed. Owns the near end; `client` is
 * closed with it.
 *
 * @param first what the client sent already, after its preface
 */
export function joinThroughRewriter(
  client: Socket,
  [near, far]: readonly [Socket, Socket],
  rewriter: AuthorityRewriter,
  first: Buffer,
  clock: Clock,
): void {
  // A client that has asked all it wants may close its half before it has read the answers.
  client.allowHalfOpen = true;
  near.allowHalfOpen = true;
  // An error is followed by 'close', where it is seen to.
  near.on('error', ignore);

  const forward = (chunk: Buffer): void => {
    let ready = true;
    near.cork();
    for (const bytes of rewriter.push(chunk)) ready = near.write(bytes);
    near.uncork();
    if (!ready) client.pause();
  };
  client.on('data', forward);
  near.on('drain', () => client.resume());
  client.on('end', () => near.end());

  near.on('data', (chunk: Buffer) => {
    // There may be a private key in it.
    if (!client.write(chunk, () => chunk.fill(0))) near.pause();
  });
  client.on('drain', () => near.resume());
  near.on('end', () => client.end());

  client.on('close', () => near.destroy());
  near.on('close', () => {
    client.destroySoon();
    // What still comes from the client has nowhere to go.
    client.off('data', forward);
    client.resume();
  });
  // Seen at the far end: the near one is not read while the client does not read.
  far.on('close', () => {
    const linger = clock.after(LINGER_MS, () => client.destroy());
    client.on('close', () => linger.cancel());
    if (client.closed) linger.cancel();
  });

  forward(first);
  if (!near.writableNeedDrain) client.resume();
}

function ignore(): void {
  // On purpose nothing.
}

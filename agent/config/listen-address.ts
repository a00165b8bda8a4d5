import { BlockList, isIP } from 'node:net';

/** Where HTTP is served: nowhere, at an address of the network, or at a socket in the file system. */
export type ListenAddress =
  | { readonly kind: 'off' }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'socket'; readonly path: string };

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

/**
 * Reads `off`, `127.0.0.1:9464`, `[::1]:9464`, or the absolute path of a socket. A name is none: where it leads is for others to say.
 *
 * @returns what is wrong with the text, such that it reads well behind it, where it is none of these
 */
export function parseListenAddress(text: string): ListenAddress | string {
  if (text === 'off') return { kind: 'off' };
  if (text.startsWith('unix:')) return 'is an address; write the path alone, without unix:';
  if (text.includes('/')) return socketAt(text);
  const [, bracketed, plain, digits = ''] = /^(?:\[([^[\]]*)\]|([^:]*)):([^:]*)$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined) {
    return isIP(text) === 0
      ? 'is no address; write one such as 127.0.0.1:9464'
      : 'has no port; write it behind the address, as in 127.0.0.1:9464 or [::1]:9464';
  }
  if (isIP(host) !== (bracketed === undefined ? 4 : 6)) {
    return 'has no IP address in front of the port; write one such as 127.0.0.1:9464 or [::1]:9464';
  }
  const port = /^[1-9]\d{0,4}$/.test(digits) ? Number(digits) : 0;
  if (port < 1 || port > 65_535) return 'has no port from 1 to 65535';
  return { kind: 'tcp', host, port };
}

/** Whether only processes of this machine, or of its network namespace, can connect. */
export function isLocal(address: ListenAddress): boolean {
  if (address.kind !== 'tcp') return true;
  return loopback.check(address.host, isIP(address.host) === 6 ? 'ipv6' : 'ipv4');
}

function socketAt(path: string): ListenAddress | string {
  // Whatever a relative one would be relative to, a variable could not say it as a file does.
  if (!path.startsWith('/')) return 'is no absolute path; begin it with a slash';
  // oxlint-disable-next-line no-control-regex -- the control characters are what is refused
  if (/[\u0000-\u001f\u007f]/.test(path)) return 'has a control character, which no path here may have';
  return { kind: 'socket', path };
}

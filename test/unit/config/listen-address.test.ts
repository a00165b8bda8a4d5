import { describe, expect, test } from 'vitest';
import { isLocal, parseListenAddress } from '../../../agent/config/listen-address.ts';

describe('where HTTP is served', () => {
  test.each([
    ['off', { kind: 'off' }],
    ['127.0.0.1:9464', { kind: 'tcp', host: '127.0.0.1', port: 9464 }],
    ['0.0.0.0:1', { kind: 'tcp', host: '0.0.0.0', port: 1 }],
    ['[::1]:65535', { kind: 'tcp', host: '::1', port: 65_535 }],
    ['[fd00::a:1]:80', { kind: 'tcp', host: 'fd00::a:1', port: 80 }],
    ['/run/mayfly/metrics.sock', { kind: 'socket', path: '/run/mayfly/metrics.sock' }],
  ])('is read from %s', (text, address) => {
    expect(parseListenAddress(text)).toEqual(address);
  });

  test.each([
    ['', /is no address/],
    ['on', /is no address/],
    ['9464', /is no address/],
    ['127.0.0.1', /has no port/],
    ['::1', /has no port/],
    [':9464', /has no IP address/],
    ['*:9464', /has no IP address/],
    ['localhost:9464', /has no IP address/],
    ['example.org:9464', /has no IP address/],
    ['127.1:9464', /has no IP address/],
    ['::1:9464', /has no port/],
    ['[127.0.0.1]:9464', /has no IP address/],
    ['[::1]', /is no address/],
    ['[::1]9464', /is no address/],
    ['127.0.0.1:0', /has no port from 1 to 65535/],
    ['127.0.0.1:65536', /has no port from 1 to 65535/],
    ['127.0.0.1:+80', /has no port from 1 to 65535/],
    ['127.0.0.1:080', /has no port from 1 to 65535/],
    ['127.0.0.1:', /has no port from 1 to 65535/],
    ['127.0.0.1:80 ', /has no port from 1 to 65535/],
    ['unix:/run/a.sock', /without unix:/],
    ['run/a.sock', /no absolute path/],
    ['./a.sock', /no absolute path/],
    ['http://127.0.0.1:80', /no absolute path/],
    ['/run/a\u0000', /control character/],
  ])('is not %j', (text, problem) => {
    expect(parseListenAddress(text)).toMatch(problem);
  });

  test.each([
    ['off', true],
    ['/run/a', true],
    ['127.0.0.1:1', true],
    ['127.255.255.254:1', true],
    ['[::1]:1', true],
    ['[0:0:0:0:0:0:0:1]:1', true],
    ['[::ffff:127.0.0.1]:1', true],
    ['126.255.255.255:1', false],
    ['128.0.0.1:1', false],
    ['0.0.0.0:1', false],
    ['[::]:1', false],
    ['[::2]:1', false],
    ['[::ffff:10.0.0.1]:1', false],
    ['10.0.0.1:1', false],
  ])('%s is of this machine alone: %s', (text, local) => {
    const address = parseListenAddress(text);
    if (typeof address === 'string') throw new Error(address);
    expect(isLocal(address)).toBe(local);
  });
});

import { inject } from 'vitest';
import { pySpiffe } from './consumers.ts';
import { workloadContract } from './contract.ts';

// It sends the socket's path, percent-encoded, as :authority, and waits for the server's SETTINGS before its first request.
workloadContract(pySpiffe, inject('equipment').python, {
  hints: false,
  denied: /no identity issued \(StatusCode\.PERMISSION_DENIED\)/,
  wrongAudience: /audience/,
  wrongSignature: /[Ss]ignature verification failed/,
  unreachable: /UNAVAILABLE|does not exist/,
  withdrawn: 'keeps',
  early: /socket file .* does not exist/,
});

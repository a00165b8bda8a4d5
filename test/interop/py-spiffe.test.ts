import { inject } from 'vitest';
import { workloadContract } from './contract.ts';

// It sends the socket's path, percent-encoded, as :authority, and waits for the server's SETTINGS before its first request.
workloadContract('py-spiffe', inject('equipment').python, {
  hints: false,
  denied: /no identity issued \(StatusCode\.PERMISSION_DENIED\)/,
  wrongAudience: /audience/,
  wrongSignature: /[Ss]ignature verification failed/,
});

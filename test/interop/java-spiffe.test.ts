import { inject } from 'vitest';
import { workloadContract } from './contract.ts';

// It sends the socket's path, slashes and all, as :authority.
workloadContract('java-spiffe', inject('equipment').java, {
  hints: true,
  denied: /PERMISSION_DENIED: no identity issued/,
  wrongAudience: /expected audience/,
  wrongSignature: /Signature invalid/,
});

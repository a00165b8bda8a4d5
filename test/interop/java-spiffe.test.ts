import { inject } from 'vitest';
import { javaSpiffe } from './consumers.ts';
import { workloadContract } from './contract.ts';

// It sends the socket's path, slashes and all, as :authority.
workloadContract(javaSpiffe, inject('equipment').java, {
  hints: true,
  denied: /PERMISSION_DENIED: no identity issued/,
  wrongAudience: /expected audience/,
  wrongSignature: /Signature invalid/,
  unreachable: /UNAVAILABLE/,
  withdrawn: 'keeps',
  early: 'waits',
});

import { inject } from 'vitest';
import { rustSpiffe } from './consumers.ts';
import { workloadContract } from './contract.ts';

// It drops what it holds at `no identity issued`, by the text.
workloadContract(rustSpiffe, inject('equipment').rust, {
  hints: true,
  denied: /no identity issued/,
  wrongAudience: /audience/i,
  wrongSignature: /signature/i,
  unreachable: /transport error|Unavailable/,
  withdrawn: /material withdrawn: no identity issued/,
  early: 'waits',
});

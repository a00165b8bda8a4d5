import { inject } from 'vitest';
import { workloadContract } from './contract.ts';

// It drops what it holds at `no identity issued`, by the text.
workloadContract('rust-spiffe', inject('equipment').rust, {
  hints: true,
  denied: /no identity issued/,
  wrongAudience: /audience/i,
  wrongSignature: /signature/i,
});

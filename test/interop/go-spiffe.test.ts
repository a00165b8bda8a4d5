import { inject } from 'vitest';
import { workloadContract } from './contract.ts';

workloadContract('go-spiffe', inject('equipment').go, {
  hints: true,
  denied: /code = PermissionDenied desc = no identity issued/,
  wrongAudience: /expected audience in \["web"\]/,
  wrongSignature: /cryptographic primitive/,
});

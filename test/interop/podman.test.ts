import { inject } from 'vitest';
import { theContainersOf } from './containers.ts';
import { PodmanEngine } from './podman-engine.ts';

const { go, podman } = inject('equipment');

theContainersOf('processes in containers of podman', [podman], go, () => PodmanEngine.start());

import { inject } from 'vitest';
import { theContainersOf } from './containers.ts';
import { DockerEngine } from './docker-engine.ts';

const { docker, go } = inject('equipment');

theContainersOf('processes in containers of Docker Engine', [docker], go, () => DockerEngine.start());

import { EngineAttestor, type EngineAttestorOptions } from './engine-attestor.ts';

/**
 * The `docker` attestor, of root's Docker Engine. A container in a pod of Kubernetes is the kubelet's, whatever runs it, and what a user's
 * own engine runs is whatever that user says.
 *
 * @param socket of the engine
 */
export function dockerAttestor(socket: string, options: EngineAttestorOptions): EngineAttestor {
  return new EngineAttestor(
    {
      name: 'docker',
      sockets: new Map([['docker', { path: socket, ofUser: false }]]),
      engineOf: ({ engine: of, owner, podUid }) =>
        podUid === undefined && owner === undefined && (of === 'docker' || of === 'unknown') ? 'docker' : undefined,
      // With a parent of one's own and without systemd, Docker names a cgroup by the bare id, and others do so too.
      isUnsure: ({ engine: of }) => of === 'unknown',
    },
    options,
  );
}

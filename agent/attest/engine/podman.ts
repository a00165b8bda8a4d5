import type { EngineSocket } from './engine.ts';
import { EngineAttestor, type EngineAttestorOptions } from './engine-attestor.ts';

export interface PodmanOptions {
  /** Of root's podman. */
  readonly socket: string;
  /** The users whose own podman is believed. */
  readonly rootlessUsers: readonly number[];
}

/** Where a user's own podman listens. The directory is his alone. */
const OF_USER = (uid: number): string => `/run/user/${uid}/podman/podman.sock`;

/**
 * The `podman` attestor, of root's podman and of that of the users who are believed: each says of his own containers what he likes. Its
 * selectors are of type `docker`, as with SPIRE, so that an entry means the same whichever of both runs the container.
 */
export function podmanAttestor(
  { rootlessUsers, socket }: PodmanOptions,
  options: EngineAttestorOptions,
  ofUser: (uid: number) => string = OF_USER,
): EngineAttestor {
  const nameOf = (uid: number): string => `podman-${uid}`;
  const ofUsers = rootlessUsers.map((uid) => [nameOf(uid), { path: ofUser(uid), ofUser: true }] as const);
  return new EngineAttestor(
    {
      name: 'podman',
      sockets: new Map<string, EngineSocket>([['podman', { path: socket, ofUser: false }], ...ofUsers]),
      engineOf: ({ engine, owner }) => {
        if (engine !== 'podman') return undefined;
        return owner === undefined ? 'podman' : nameOf(owner);
      },
      isUnsure: () => false,
    },
    options,
  );
}

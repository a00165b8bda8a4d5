import * as v from 'valibot';
import { list, mapping, optionalHost, optionalPath, variableName } from './field.ts';
import { bytes, count, flag, key, kind, path, ttl } from './key.ts';

const unix = mapping({
  path: key(
    // The text stays text where none of the two words is meant.
    kind('true, false or any', 'boolean', v.union([v.boolean(), v.literal('any')])),
    true,
    'restart',
    'Whether there are `unix:path` selectors. `true`: of an executable that is the very file which the path names for the agent. `any`: of whatever path the process shows, which any user can forge in a mount namespace of his own.',
  ),
  sha256: key(flag, false, 'restart', 'Whether there are `unix:sha256` selectors, the hash of the executable.'),
  max_hash_size: key(
    bytes('1B', '64GiB'),
    '256MiB',
    'restart',
    'The largest executable that is hashed. A larger one has no `unix:sha256`.',
  ),
});

const systemd = mapping({
  enabled: key(
    flag,
    false,
    'restart',
    'Whether there are `systemd:` selectors, and identities end when the unit of their process stops or is started again.',
  ),
  socket: key(path, '/run/dbus/system_bus_socket', 'restart', "The socket of the system's message bus."),
});

const docker = mapping({
  enabled: key(
    flag,
    false,
    'restart',
    'Whether processes in containers of Docker Engine have `docker:` selectors, and lose their identities when their container ends.',
  ),
  socket: key(
    path,
    '/run/docker.sock',
    'restart',
    "The engine's socket. Whoever may write to it is root of the machine.",
  ),
});

const podman = mapping({
  enabled: key(
    flag,
    false,
    'restart',
    'Whether processes in containers of podman have `docker:` selectors, as SPIRE has it, and lose their identities when their container ends.',
  ),
  socket: key(
    path,
    '/run/podman/podman.sock',
    'restart',
    "The socket of root's podman. Whoever may write to it is root of the machine.",
  ),
  rootless_users: key(
    kind(
      'a list of user ids',
      'list',
      list(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(4_294_967_294)), 0, 1000),
    ),
    [],
    'restart',
    'Whose own podman is believed, at `/run/user/<uid>/podman/podman.sock`. Such a user says whatever he likes of his containers: any label, any image.',
  ),
});

const noPath = kind('a path, or nothing', 'path', optionalPath);

const k8s = mapping({
  enabled: key(
    flag,
    false,
    'restart',
    "Whether there are `k8s:` selectors, from this node's kubelet. Its other keys are spelled as those of SPIRE's plugin.",
  ),
  node_name: key(
    kind('a name or address, or nothing', 'text', optionalHost),
    '',
    'restart',
    'Where the kubelet is asked, and what its certificate has to bear. Nothing: what `node_name_env` says.',
  ),
  node_name_env: key(
    kind('the name of an environment variable', 'text', variableName),
    'MY_NODE_NAME',
    'restart',
    'The variable with the name or address of the node. Where that is not set either, the kubelet is asked at 127.0.0.1 and its certificate is held to its signer alone.',
  ),
  kubelet_secure_port: key(count(65_535), 10_250, 'restart', "The kubelet's port."),
  kubelet_read_only_port: key(
    kind('a port, or 0', 'number', v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(65_535))),
    0,
    'restart',
    "The kubelet's port without TLS and authentication, which is asked at 127.0.0.1 instead of the other unless it is 0. Any process of the node can listen there while the kubelet does not.",
  ),
  kubelet_ca_path: key(
    path,
    '/var/run/secrets/kubernetes.io/serviceaccount/ca.crt',
    'restart',
    "A PEM file with who signs the kubelet's certificate, or with that certificate itself. Read again for each request.",
  ),
  skip_kubelet_verification: key(
    flag,
    false,
    'restart',
    "Whether the kubelet's certificate is not looked at, with a standing warning.",
  ),
  token_path: key(
    path,
    '/var/run/secrets/kubernetes.io/serviceaccount/token',
    'restart',
    'The token that the kubelet is shown unless there is a `certificate_path`. Read again for each request.',
  ),
  certificate_path: key(
    noPath,
    '',
    'restart',
    'The client certificate that the kubelet is shown, a PEM file. Read again for each request.',
  ),
  private_key_path: key(noPath, '', 'restart', 'Its key, which may be in the same file.'),
  enable_namespace_labels: key(
    flag,
    false,
    'restart',
    'Whether there are `k8s:ns-label` selectors. The kubelet does not know the labels of namespaces: the API server is asked, as the service account of the agent, whose role needs `get` on `namespaces`.',
  ),
  disable_container_selectors: key(
    flag,
    false,
    'restart',
    'Whether there are no `k8s:container-name` and `k8s:container-image`, and a process is what its pod is. It need not wait then until its container is listed, which it is not while a `postStart` hook of its pod runs; nor does it lose its identity with its container alone.',
  ),
  poll_interval: key(
    // The kubelet gives up a connection after 90 seconds without a question, and another might be another kubelet's.
    ttl('500ms', '1m'),
    '2s',
    'restart',
    'How often the list of pods is asked for while processes in pods hold an identity, so that they lose it with their pod. Less often where a list takes long to read, or the kubelet does not answer.',
  ),
  max_answer_size: key(
    bytes('64KiB', '1GiB'),
    '64MiB',
    'restart',
    'The largest list of pods that is read. A larger one is none.',
  ),
});

/** The section `attestors`. */
export const attestors = mapping({
  unix: v.optional(unix, {}),
  docker: v.optional(docker, {}),
  podman: v.optional(podman, {}),
  k8s: v.optional(k8s, {}),
  systemd: v.optional(systemd, {}),
});

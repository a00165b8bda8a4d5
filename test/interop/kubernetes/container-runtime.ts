interface ContainerdSpec {
  readonly directory: string;
  /** Where Debian's packages are unpacked. */
  readonly debian: string;
  readonly sandboxImage: string;
}

/** The configuration of Debian's containerd, with paths of its own. */
export function containerdConfig({ directory, debian, sandboxImage }: ContainerdSpec): string {
  return `
version = 2
root = "${directory}/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = "${directory}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${sandboxImage}"
  # Programs of a package that is not installed have no profile.
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      BinaryName = "${debian}/usr/sbin/runc"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "${debian}/usr/lib/cni"
    conf_dir = "${directory}/cni"
`;
}

/** A network of pods on a bridge, from which the node can be reached. @param addresses where is written who has which */
export function networkConfig(addresses: string): string {
  const ipam = { type: 'host-local', dataDir: addresses, ranges: [[{ subnet: '10.244.0.0/24' }]] };
  const bridge = { type: 'bridge', bridge: 'pods0', isGateway: true, isDefaultGateway: true, ipMasq: false, ipam };
  return JSON.stringify({ cniVersion: '0.4.0', name: 'pods', plugins: [bridge] });
}

/**
 * What no package has, since it is made when one is installed or is of one machine alone: who there is, what PAM does, and a shell on
 * a serial line. That takes a script a line, in base64, and answers with its exit code and what it has printed.
 */
export const SYSTEM_FILES: Readonly<Record<string, string>> = {
  // Services could not be shut in a part of the kernel's own root, which is where it unpacks the archives.
  init: `#!/bin/busybox sh
/bin/busybox mkdir /newroot
/bin/busybox mount -t tmpfs -o size=90%,mode=0755 tmpfs /newroot
for name in /*; do [ $name = /newroot ] || /bin/busybox cp -a $name /newroot/; done
exec /bin/busybox switch_root /newroot /usr/lib/systemd/systemd
`,
  'etc/hostname': 'guest\n',
  'etc/machine-id': '0123456789abcdef0123456789abcdef\n',
  'etc/passwd': [
    'root:x:0:0::/root:/bin/bash',
    'messagebus:x:100:100::/nonexistent:/usr/sbin/nologin',
    'ann:x:1000:1000::/home/ann:/bin/bash',
    'bob:x:1001:1001::/home/bob:/bin/bash',
    'nobody:x:65534:65534::/nonexistent:/usr/sbin/nologin',
    '',
  ].join('\n'),
  'etc/group': 'root:x:0:\nmessagebus:x:100:\nann:x:1000:\nbob:x:1001:\nnogroup:x:65534:\n',
  'etc/pam.d/common-account': 'account required pam_permit.so\n',
  'etc/pam.d/common-session-noninteractive': 'session required pam_permit.so\n',
  'etc/pam.d/other': 'auth required pam_deny.so\naccount required pam_deny.so\nsession required pam_deny.so\n',
  'etc/tmpfiles.d/guest.conf': 'd /opt\nd /home/ann 0755 ann ann\nd /home/bob 0755 bob bob\n',
  // What is emulated starts slowly.
  'etc/systemd/system.conf.d/patience.conf': '[Manager]\nDefaultTimeoutStartSec=300s\n',
  'etc/systemd/system/multi-user.target.d/shell.conf': '[Unit]\nWants=serial-shell.service\n',
  'usr/local/bin/serial-shell': `#!/bin/bash
exec 3<>"$1"
stty -F "$1" raw -echo
export HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin
cd /root
echo ready >&3
while read -r line <&3; do
  output=$(base64 -d <<<"$line" | bash -euo pipefail /dev/stdin 2>&1)
  echo "$? $(base64 -w0 <<<"$output")" >&3
done
`,
};

/** Where that shell listens. @param line the name of its device */
export function shellOn(line: string): Readonly<Record<string, string>> {
  const exec = `/usr/local/bin/serial-shell /dev/${line}`;
  return { 'etc/systemd/system/serial-shell.service': `[Service]\nExecStart=${exec}\n` };
}

export const EXECUTABLE: ReadonlySet<string> = new Set(['init', 'usr/local/bin/serial-shell']);

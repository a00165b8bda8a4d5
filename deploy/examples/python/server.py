"""Greets whoever presents the allowed SPIFFE ID."""

import socket
import sys
import threading

from mtls import peer_id, secure
from spiffe import X509Source


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: server.py HOST:PORT ALLOWED_SPIFFE_ID")
    host, port = sys.argv[1].rsplit(":", 1)
    # Waits until the agent gives this process an identity; from then on the source follows each renewal.
    with X509Source() as source, socket.create_server((host, int(port))) as listener:
        print("listening on {}:{}".format(*listener.getsockname()), flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=greet, args=(connection, source, sys.argv[2]), daemon=True).start()


def greet(connection, source, allowed):
    try:
        with secure(connection, source, server_side=True) as tls:
            client = peer_id(tls)
            if client != allowed:
                raise PermissionError(f"unexpected ID {client}")
            tls.sendall(f"Hello, {client}\n".encode())
        print("greeted", client, flush=True)
    except (OSError, ValueError) as error:
        print("refused:", error, file=sys.stderr, flush=True)
        connection.close()


if __name__ == "__main__":
    main()

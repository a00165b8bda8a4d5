"""Calls the server once a second, and prints who answered what."""

import socket
import sys
import time

from mtls import TIMEOUT, peer_id, secure
from spiffe import X509Source


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: client.py HOST:PORT SERVER_SPIFFE_ID")
    host, port = sys.argv[1].rsplit(":", 1)
    # Waits until the agent gives this process an identity; from then on the source follows each renewal.
    with X509Source() as source:
        while True:
            call((host, int(port)), source, sys.argv[2])
            time.sleep(1)


def call(address, source, expected):
    connection = socket.create_connection(address, TIMEOUT)
    with secure(connection, source, server_side=False) as tls:
        server = peer_id(tls)
        if server != expected:
            raise PermissionError(f"unexpected ID {server}")
        # A server that refuses says so only now: in TLS 1.3 the client is done with the handshake first.
        greeting = tls.makefile().readline()
    if not greeting:
        raise ConnectionError("the server has hung up")
    print(f"{server}: {greeting.strip()}", flush=True)


if __name__ == "__main__":
    main()

"""Drives py-spiffe as a workload would, told what to do by the test that started it.

A command is one line of JSON on standard input, its answer one line on standard output, and what comes by itself in between is an
event.
"""

import base64
import json
import os
import socket
import sys
import threading

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import SubjectAlternativeName, UniformResourceIdentifier
from OpenSSL import SSL
from spiffe import JwtSource, JwtSvid, SpiffeId, TrustDomain, WorkloadApiClient, X509Source
from spiffetls import ListenOptions, dial, listen
from spiffetls.context import create_ssl_context
from spiffetls.mode import ClientTlsMode, ServerTlsMode
from spiffetls.tlsconfig.authorize import authorize_id

# For one question to the agent: py-spiffe waits for ever otherwise.
DEADLINE = 10

_output = threading.Lock()


def write(**line):
    with _output:
        print(json.dumps(line), flush=True)


def der(certificate):
    return base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()


def identity(svid):
    # X509Svid of py-spiffe has no hint.
    return {"id": str(svid.spiffe_id), "chain": [der(certificate) for certificate in svid.cert_chain]}


def token(svid):
    return {"id": str(svid.spiffe_id), "audience": sorted(svid.audience), "expiry": svid.expiry, "token": svid.token}


def update(context):
    bundles = {str(b.trust_domain): [der(c) for c in b.x509_authorities] for b in context.x509_bundle_set.bundles}
    return {"svids": [identity(svid) for svid in context.x509_svids], "bundles": bundles}


def met(connection):
    """Whom one end of a connection has seen at the other, which the handshake has verified."""
    leaf = connection.get_peer_certificate(as_cryptography=True)
    (uri,) = leaf.extensions.get_extension_for_class(SubjectAlternativeName).value.get_values_for_type(
        UniformResourceIdentifier
    )
    return {"id": uri, "leaf": der(leaf)}


def line(connection):
    """The next line, without its end; what had come by then when the connection ends."""
    read = b""
    while not read.endswith(b"\n"):
        try:
            read += connection.recv(1)
        except SSL.ZeroReturnError:
            break
    return read.decode().rstrip("\n")


def reasons(error):
    """spiffetls keeps what TLS has said in the causes."""
    said = f"{type(error).__name__}: {error}"
    return said if error.__cause__ is None else f"{said}: {reasons(error.__cause__)}"


class Workload:
    """A process that uses everything of py-spiffe, each source on a connection of its own as py-spiffe does by default."""

    def __init__(self):
        self.kept = {}

    def watch(self, _asked):
        write(event="opening", value=None)
        self.client = WorkloadApiClient(default_timeout=DEADLINE)
        self.x509 = X509Source(timeout_in_seconds=DEADLINE)
        self.jwts = JwtSource(timeout_in_seconds=DEADLINE)
        self.client.stream_x509_contexts(
            lambda context: write(event="update", value=update(context)),
            lambda error: write(event="ended", value=str(error)),
        )

    def fetch(self, _asked):
        """Asks once, outside the sources."""
        with WorkloadApiClient(default_timeout=DEADLINE) as client:
            return identity(client.fetch_x509_svid())

    def source(self, _asked):
        """What the X509Source holds."""
        return identity(self.x509.get_x509_context().default_svid)

    def bundle(self, asked):
        """What the sources hold for a trust domain."""
        trust_domain = TrustDomain(asked["trustDomain"])
        roots = self.x509.get_bundle_for_trust_domain(trust_domain)
        keys = self.jwts.get_bundle_for_trust_domain(trust_domain)
        if roots is None or keys is None:
            raise ValueError(f"no bundle for {trust_domain}")
        if roots != self.client.fetch_x509_bundles().get_bundle_for_trust_domain(trust_domain):
            raise ValueError("the X509Source holds another bundle than the agent serves")
        if keys != self.client.fetch_jwt_bundles().get_bundle_for_trust_domain(trust_domain):
            raise ValueError("the JwtSource holds another bundle than the agent serves")
        return {"x509": [der(c) for c in roots.x509_authorities], "jwt": sorted(keys.jwt_authorities)}

    def jwt(self, asked):
        """Fetches a JWT-SVID through the JwtSource."""
        subject = SpiffeId(asked["subject"]) if asked.get("subject") else None
        return token(self.jwts.fetch_svid(set(asked["audience"]), subject, timeout=DEADLINE))

    def validate(self, asked):
        """Has the agent validate a token."""
        (audience,) = asked["audience"]
        return token(self.client.validate_jwt_svid(asked["token"], audience))

    def verify(self, asked):
        """Validates a token here, with the keys that the JwtSource holds."""
        audience = set(asked["audience"])
        trust_domain = JwtSvid.parse_insecure(asked["token"], audience).spiffe_id.trust_domain
        bundle = self.jwts.get_bundle_for_trust_domain(trust_domain)
        return token(JwtSvid.parse_and_validate(asked["token"], bundle, audience))

    def listen(self, asked):
        """Serves mTLS on a free port to peers of one SPIFFE ID; the address.

        It tells each whom it has met, and then says again what is said to it. How each handshake went becomes an event.
        """
        authorize = authorize_id(SpiffeId(asked["expect"]))
        if asked.get("defaults"):
            listener = listen("127.0.0.1:0", self.x509, ListenOptions(ServerTlsMode.MTLS, authorize))
            secure = None
        else:
            listener = socket.create_server(("127.0.0.1", 0))
            secure = authorize
        threading.Thread(target=self.accept, args=(listener, secure), daemon=True).start()
        return "{}:{}".format(*listener.getsockname())

    def accept(self, listener, secure):
        while True:
            connection, _ = listener.accept()
            if secure:
                # The context of spiffetls.listen has the certificate of its start for ever: here each connection has its own.
                context = create_ssl_context(SSL.TLS_SERVER_METHOD, self.x509, secure)
                connection = SSL.Connection(context, connection)
                connection.set_accept_state()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        try:
            connection.do_handshake()
        except SSL.Error as error:
            write(event="refused", value=reasons(error))
            connection.close()
            return
        peer = met(connection)
        write(event="accepted", value=peer["id"])
        said = json.dumps(peer)
        while said:
            connection.sendall(f"{said}\n".encode())
            said = line(connection)

    def dial(self, asked):
        """Whom it has reached, and who the other side says that we are."""
        connection, meeting = self.connect(asked)
        connection.shutdown()
        connection.close()
        return {"peer": meeting["peer"]["id"], "us": meeting["us"]["id"]}

    def open(self, asked):
        """Dials, and keeps the connection."""
        self.kept[asked["address"]], meeting = self.connect(asked)
        return meeting

    def say(self, asked):
        """What comes back on the connection that open has kept."""
        connection = self.kept[asked["address"]]
        connection.sendall(f"{asked['word']}\n".encode())
        return line(connection)

    def connect(self, asked):
        authorize = authorize_id(SpiffeId(asked["expect"]))
        connection = dial(asked["address"], self.x509, ClientTlsMode.TLS, authorize)
        # In TLS 1.3 the server's refusal comes after the client's handshake, with the first read.
        us = json.loads(line(connection))
        return connection, {"peer": met(connection), "us": us, "tls": connection.get_protocol_version_name()}


COMMANDS = {"watch", "fetch", "source", "bundle", "jwt", "validate", "verify", "listen", "dial", "open", "say"}


def main():
    workload = Workload()
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            if asked["do"] not in COMMANDS:
                raise ValueError(f"{asked['do']!r} is no command")
            write(answer=getattr(workload, asked["do"])(asked))
        except Exception as error:  # whatever it is, the test judges it
            write(failure=reasons(error))


if __name__ == "__main__":
    main()
    # The streams' threads would keep the process.
    os._exit(0)

"""TLS of the standard library with what an X509Source of py-spiffe holds."""

import os
import ssl

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

TIMEOUT = 10


def secure(connection, source, server_side):
    """Does the handshake. The context is made for each connection, so that none is older than the last renewal."""
    connection.settimeout(TIMEOUT)
    x509 = source.get_x509_context()
    svid = x509.default_svid
    bundle = x509.x509_bundle_set.get_bundle_for_trust_domain(svid.spiffe_id.trust_domain)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server_side else ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # peer_id() takes its place: an identity is no host name
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=pem(bundle.x509_authorities))
    # A key is loaded from files only: this one is in memory, and has no name that others could open.
    with open(os.memfd_create("svid"), "w") as file:
        file.write(pem(svid.cert_chain))
        file.write(svid.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
    return context.wrap_socket(connection, server_side=server_side)


def peer_id(connection):
    """The SPIFFE ID of the other end, from the certificate that the handshake has verified."""
    (uri,) = [name for kind, name in connection.getpeercert()["subjectAltName"] if kind == "URI"]
    return uri


def pem(certificates):
    return "".join(certificate.public_bytes(Encoding.PEM).decode() for certificate in certificates)

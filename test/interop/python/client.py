"""Drives py-spiffe as a workload would, told what to do by the test that started it.

A command is one line of JSON on standard input, its answer one line on standard output, and what comes by itself in between is an
event.
"""

import base64
import json
import os
import sys
import threading

from cryptography.hazmat.primitives.serialization import Encoding
from spiffe import JwtSource, JwtSvid, SpiffeId, TrustDomain, WorkloadApiClient, X509Source

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


class Workload:
    """A process that uses everything of py-spiffe, each source on a connection of its own as py-spiffe does by default."""

    def watch(self, _asked):
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


def main():
    commands = {"watch", "fetch", "source", "bundle", "jwt", "validate", "verify"}
    workload = Workload()
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            if asked["do"] not in commands:
                raise ValueError(f"{asked['do']!r} is no command")
            write(answer=getattr(workload, asked["do"])(asked))
        except Exception as error:  # whatever it is, the test judges it
            write(failure=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
    # The streams' threads would keep the process.
    os._exit(0)

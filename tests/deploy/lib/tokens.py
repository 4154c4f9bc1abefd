"""An authorization server, as far as tokens and the file of its keys go; signed by `openssl`."""

import base64
import json
import os
import subprocess
import time
from pathlib import Path

ISSUER = "https://issuer.example"
AUDIENCE = "https://roothold.example/mcp"
ALGORITHM = "RS256"


class Signer:
    """A key of the authorization server."""

    def __init__(self, scratch, name):
        self.name = name
        self.file = Path(scratch) / f"{name}.pem"
        self._openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", self.file)

    def _openssl(self, *arguments, given=b""):
        command = ["openssl", *map(str, arguments)]
        return subprocess.run(command, check=True, capture_output=True, input=given).stdout

    def public(self):
        """Returns it as a key of a JWKS."""
        modulus = self._openssl("rsa", "-in", self.file, "-noout", "-modulus").decode().strip().split("=")[1]
        numbers = {"n": encoded(bytes.fromhex(modulus)), "e": encoded(bytes([1, 0, 1]))}
        return {"kty": "RSA", "kid": self.name, "use": "sig", "alg": ALGORITHM} | numbers

    def token(self, scope, seconds=600):
        """Returns a token that it signed."""
        now = int(time.time())
        head = {"alg": ALGORITHM, "typ": "at+jwt", "kid": self.name}
        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "agent", "client_id": "agent", "scope": scope}
        claims |= {"iat": now, "exp": now + seconds, "jti": os.urandom(8).hex()}
        signed = ".".join(encoded(json.dumps(part).encode()) for part in (head, claims))
        signature = self._openssl("dgst", "-sha256", "-sign", self.file, given=signed.encode())
        return f"{signed}.{encoded(signature)}"


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def publish(path, *signers):
    """Puts the public keys into a file in one step, as whoever fetches them does."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"keys": [signer.public() for signer in signers]}))
    new.rename(path)

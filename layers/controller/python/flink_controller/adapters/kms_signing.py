"""Signing with a key that never leaves AWS KMS. For the CLI: no function signs anything."""

import base64
from functools import cached_property
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from flink_controller.adapters.aws_clients import ClientSource, opened
from flink_controller.adapters.aws_errors import translated
from flink_controller.adapters.signatures import parse_public_key
from flink_controller.domain.artifact import KeyAlgorithm
from flink_controller.domain.errors import RejectedError

SIGN_ACTIONS: Final[frozenset[str]] = frozenset({"kms:Sign", "kms:GetPublicKey"})
"""On the key; no function has it."""
SCHEME: Final = "awskms"
MAX_MESSAGE_BYTES: Final = 4096
"""What KMS hashes by itself; statements and digests are far smaller."""
ALGORITHMS: Final = {
    KeyAlgorithm.ED25519: "ED25519_SHA_512",
    KeyAlgorithm.ECDSA_P256: "ECDSA_SHA_256",
    KeyAlgorithm.ECDSA_P384: "ECDSA_SHA_384",
    KeyAlgorithm.RSA_PSS: "RSASSA_PSS_SHA_256",
}
"""What KMS calls that which admission verifies for a key of a kind."""


class _Client(Protocol):
    def get_public_key(self, *, KeyId: str) -> Any: ...  # noqa: N803  # AWS's spelling
    def sign(self, *, KeyId: str, Message: bytes, MessageType: str, SigningAlgorithm: str) -> Any: ...  # noqa: N803


def key_of(uri: str) -> tuple[str | None, str]:
    """Read `awskms:///KEY` or `awskms://HOST/KEY`, as cosign writes them: endpoint (None: the usual one) and key id.

    Raises:
        RejectedError: it names no key.
    """
    parts = urlsplit(uri)
    key = parts.path.removeprefix("/")
    if parts.scheme != SCHEME or not key or parts.query or parts.fragment:
        raise RejectedError(f"{ascii(uri)[:200]} names no key: write awskms:///alias/NAME, or awskms:///ARN")
    return (f"https://{parts.netloc}" if parts.netloc else None), key


class KMSSigner:
    """Signs with one key. Two calls for the first signature: what kind of key it is, and the signature."""

    def __init__(self, client: ClientSource[_Client], key_id: str) -> None:
        self._source = client
        self._key_id = key_id

    @cached_property
    def _client(self) -> _Client:
        return opened(self._source)

    @cached_property
    def _public(self) -> bytes:
        with translated(f"read the public half of KMS key {self._key_id}"):
            return bytes(self._client.get_public_key(KeyId=self._key_id)["PublicKey"])

    def public_key_pem(self) -> str:
        """Give the public half, to be registered."""
        lines = base64.encodebytes(self._public).decode().replace("\n", "")
        body = "\n".join(lines[at : at + 64] for at in range(0, len(lines), 64))
        return f"-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n"

    def sign(self, message: bytes) -> bytes:
        """Sign a message.

        Raises:
            RejectedError: the key is of a kind that admission does not know, or the message is too long.
        """
        algorithm = ALGORITHMS[parse_public_key(self.public_key_pem())]
        if len(message) > MAX_MESSAGE_BYTES:
            raise RejectedError(f"{len(message)} bytes are more than KMS signs at once ({MAX_MESSAGE_BYTES})")
        with translated(f"sign with KMS key {self._key_id}"):
            signed = self._client.sign(KeyId=self._key_id, Message=message, MessageType="RAW", SigningAlgorithm=algorithm)
        return bytes(signed["Signature"])

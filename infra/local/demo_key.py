"""The key that signs artifacts on a laptop: made once per stack, and worth nothing elsewhere."""

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat


@dataclass(frozen=True)
class DemoKey:
    """An Ed25519 key pair as two PEM files."""

    private: Path
    """PKCS #8, unencrypted, readable by its owner only."""
    public: Path


def ensure_demo_key(directory: Path) -> DemoKey:
    """Return the key pair in `directory`, making it the first time."""
    key = DemoKey(directory / "demo-key.pem", directory / "demo-key.pub.pem")
    if not (key.private.exists() and key.public.exists()):
        directory.mkdir(parents=True, exist_ok=True)
        fresh = Ed25519PrivateKey.generate()
        key.private.touch(mode=0o600)
        key.private.chmod(0o600)
        key.private.write_bytes(fresh.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        public = fresh.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        key.public.write_bytes(public)
    return key

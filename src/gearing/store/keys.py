"""Ed25519 keys: the private one that signs heads, and the public ones that people trust.

A public key is written as 64 hex digits, which are also its id. A private key is PKCS 8 in PEM, as `openssl genpkey
-algorithm ed25519` writes it, or 64 hex digits.

Source: RFC 8032, Ed25519; RFC 8410, its keys in PKCS 8.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gearing.errors import InputError
from gearing.files import read_bytes
from gearing.outputs import write_error

# The private key itself, for services whose secrets are not files.
KEY_VARIABLE = "GEARING_SIGNING_KEY"
_MAKE = "Make one: openssl genpkey -algorithm ed25519 -out FILE && chmod 600 FILE"
NAME_KEY = (
    "Name the file of the key that the desk signs with: --signing-key. If that key is lost, --new-key signs with "
    "another one, which whoever checks the heads has to be told."
)
_HEX = re.compile(r"[0-9a-f]{64}")


class SigningKey:
    """A private key.

    Args:
        private: 32 bytes.
    """

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public = private.public_key().public_bytes_raw().hex()

    def sign(self, message: bytes) -> str:
        """Returns the signature of a message: 128 hex digits."""
        return self._private.sign(message).hex()


def is_signed(message: bytes, signature: str, public: str) -> bool:
    """Returns whether a signature of a message was made with the private key of a public one, both in hex."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(bytes.fromhex(signature), message)
    except (InvalidSignature, ValueError):
        return False
    return True


def make_key(path: Path) -> SigningKey:
    """Makes a private key in a new file that only its owner may read.

    Raises:
        InputError: the file cannot be written, or there is one of this name.
    """
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    # A name of its own first, so that a kill leaves no half a key under the real one.
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        os.link(part, path)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        part.unlink(missing_ok=True)
    return SigningKey(private)


def read_key(path: Path) -> SigningKey:
    """Returns the private key in a file.

    Raises:
        InputError: the file is missing, holds no such key, or others than its owner may read it.
    """
    data = read_bytes(path)
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise InputError(f"others than its owner may use this private key (mode {mode:04o}).", where=str(path),
                         fix=f"Run: chmod 600 {path}")  # fmt: skip
    return _private_key(data.decode("ascii", "replace"), str(path))


def signing_key(chosen: Path | None, default: Path, makes: bool = True) -> SigningKey:
    """Returns the key that heads are signed with: of a chosen file, of the environment, or of the default file.

    Args:
        chosen: a file that a person named; it must exist.
        default: the file that is used when nothing was named.
        makes: whether it is made if it is missing; else other heads were signed with a key that is somewhere.

    Raises:
        InputError: the key cannot be read, or not be made.
    """
    if chosen is not None:
        return read_key(chosen)
    given = os.environ.get(KEY_VARIABLE)
    if given:
        return _private_key(given, KEY_VARIABLE)
    if not default.exists() and not makes:
        raise InputError("the key that signed the heads so far is not here.", where=str(default), fix=NAME_KEY)
    return read_key(default) if default.exists() else make_key(default)


def public_key(text: str) -> str:
    """Returns a public key that a person gave: 64 hex digits, or a file that holds them or a public key in PEM.

    Raises:
        InputError: it is neither.
    """
    if _HEX.fullmatch(text.strip().lower()):
        return text.strip().lower()
    if not Path(text).exists():
        raise InputError("this is neither a public key of 64 hex digits nor a file that holds one.", where=text,
                         fix="gearing journal head DB shows the desk's.")  # fmt: skip
    data = read_bytes(text).decode("ascii", "replace").strip()
    if _HEX.fullmatch(data.lower()):
        return data.lower()
    try:
        found = serialization.load_pem_public_key(data.encode())
    except ValueError:
        found = None
    if not isinstance(found, Ed25519PublicKey):
        raise InputError(
            "the file does not hold an Ed25519 public key.",
            where=text,
            fix="Give 64 hex digits, as `gearing journal head` prints them, or a public key in PEM.",
        )
    return found.public_bytes_raw().hex()


def _private_key(text: str, where: str) -> SigningKey:
    if _HEX.fullmatch(text.strip().lower()):
        return SigningKey(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(text.strip())))
    try:
        found = serialization.load_pem_private_key(text.encode(), password=None)
    except (ValueError, TypeError):
        found = None
    if not isinstance(found, Ed25519PrivateKey):
        raise InputError("this is not an Ed25519 private key in PEM without a passphrase.", where=where, fix=_MAKE)
    return SigningKey(found)

"""Certificates for the test servers: a small authority that issues good and bad ones."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


@dataclass(frozen=True)
class Certificate:
    """The PEM files of a server's certificate and key."""

    chain_file: Path
    key_file: Path

    def context(self) -> ssl.SSLContext:
        """Return a server's TLS context with this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.chain_file, self.key_file)
        return context


class Authority:
    """Issues server certificates into a directory; clients that load ``ca_file`` trust them."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("mailsync test authority")
        self.ca_file = directory / "ca.pem"
        usage = dict.fromkeys(_USAGES, False) | {"key_cert_sign": True, "crl_sign": True}
        certificate = (
            self._builder(self._name, self._key, -3650, 3650)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.KeyUsage(**usage), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.ca_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def good(self) -> Certificate:
        """Return a certificate that is valid for ``localhost`` and 127.0.0.1."""
        return self._issue("good")

    def expired(self) -> Certificate:
        """Return a certificate for the right name that expired yesterday."""
        return self._issue("expired", first_day=-30, last_day=-1)

    def wrong_name(self) -> Certificate:
        """Return a certificate for another host."""
        return self._issue("wrong-name", names=["mail.elsewhere.test"])

    def named(self, *names: str) -> Certificate:
        """Return a good certificate for these names."""
        return self._issue("-".join(names), names=list(names))

    def self_signed(self) -> Certificate:
        """Return a certificate for the right name that is signed by itself."""
        return self._issue("self-signed", self_signed=True)

    def _issue(
        self,
        file: str,
        names: list[str] | None = None,
        first_day: int = -1,
        last_day: int = 30,
        self_signed: bool = False,
    ) -> Certificate:
        result = Certificate(self._directory / f"{file}.pem", self._directory / f"{file}.key")
        if result.key_file.exists():
            return result
        key = ec.generate_private_key(ec.SECP256R1())
        names = names or ["localhost", "127.0.0.1"]
        certificate = (
            self._builder(_name(names[0]), key, first_day, last_day, self_signed)
            .add_extension(
                x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False
            )
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .sign(key if self_signed else self._key, hashes.SHA256())
        )
        result.chain_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        result.key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return result

    def _builder(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        first_day: int,
        last_day: int,
        self_signed: bool = False,
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        signer = key if self_signed else self._key
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if self_signed else self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + timedelta(days=first_day))
            .not_valid_after(now + timedelta(days=last_day))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
            )
        )


_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)

"""Certificates and keys of a federation: who the server is, and who a node is (chapter 16)."""

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

PEM, SSH = serialization.Encoding.PEM, serialization.Encoding.OpenSSH


def key_pair(folder: Path, name: str) -> None:
    """Write a key as SuperNodes want it: NAME, which never leaves its node, and NAME.pub."""
    key, plain = ec.generate_private_key(ec.SECP384R1()), serialization.NoEncryption()
    (folder / name).write_bytes(key.private_bytes(PEM, serialization.PrivateFormat.OpenSSH, plain))
    (folder / name).chmod(0o600)
    (folder / f"{name}.pub").write_bytes(key.public_key().public_bytes(SSH, serialization.PublicFormat.OpenSSH))


def certificates(folder: Path, ca: str = "ca", server: str = "server", *, ahead: int = 0) -> None:
    """Make an authority, and a server's certificate that it signs, valid for a week that begins `ahead` days on."""
    begin = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=ahead, minutes=-5)
    authority, key = (ec.generate_private_key(ec.SECP384R1()) for _ in range(2))
    names = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]) for name in (ca, "localhost")]
    places = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    for file, owner, subject in ((ca, authority, names[0]), (server, key, names[1])):
        made = x509.CertificateBuilder(names[0], subject, owner.public_key(), x509.random_serial_number())
        made = made.not_valid_before(begin).not_valid_after(begin + datetime.timedelta(days=7))
        made = made.add_extension(x509.BasicConstraints(file == ca, None), critical=True)
        if file == server:
            made = made.add_extension(x509.SubjectAlternativeName(places), critical=False)
        (folder / f"{file}.crt").write_bytes(made.sign(authority, hashes.SHA384()).public_bytes(PEM))
    plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / f"{server}.key").write_bytes(key.private_bytes(PEM, *plain))
    (folder / f"{server}.key").chmod(0o600)

"""The data session over TLS: a broker whose certificate the given authority signed, and one it did not."""

import asyncio
import datetime
import ipaddress
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agent.gateway.mqtt import MqttLink
from agent.serve.settings import BrokerConfig
from tests.unit.agent.gateway.sources.source_kit import Mosquitto, play, until


def authority(folder: Path, name: str) -> Path:
    """Write a certificate for 127.0.0.1 that signs itself, and its key; return the certificate's path."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(
        now + datetime.timedelta(days=1)
    )
    builder = builder.add_extension(address, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    path = folder / f"{name}.pem"
    path.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.with_suffix(".key").write_bytes(key.private_bytes(*form))
    return path


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return authority(tmp_path, "barn")


@pytest.fixture
def broker(tmp_path: Path, certificate: Path) -> Iterator[Mosquitto]:
    settings = {"certfile": str(certificate), "keyfile": str(certificate.with_suffix(".key"))}
    mosquitto = Mosquitto(tmp_path / "broker", settings).start()
    yield mosquitto
    mosquitto.stop()


def test_only_a_broker_that_the_authority_vouches_for_is_spoken_to(
    broker: Mosquitto, certificate: Path, tmp_path: Path
) -> None:
    known = BrokerConfig(port=broker.port, ca_file=certificate)
    strange = BrokerConfig(port=broker.port, ca_file=authority(tmp_path, "stranger"))

    async def scene() -> None:
        wary = MqttLink(strange, None, "wary", lambda _: None)
        link = MqttLink(known, None, "data", lambda _: None)
        await wary.start()
        await link.start()
        await until(lambda: link.online)
        await link.publish("out", b"1", 1, False)
        await until(lambda: "certificate" in (tmp_path / "broker" / "log").read_text() or wary._failures)
        assert not wary.online
        await asyncio.gather(link.close(), wary.close())

    play(scene)

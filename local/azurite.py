"""Azurite's table service as a child process: the Table Storage of local runs and tests."""

import os
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from shutil import which
from typing import Final, Self

import trustme

ACCOUNT: Final = "devstoreaccount1"
# Public: Microsoft documents this key for every emulator, and it opens nothing in Azure.
# https://learn.microsoft.com/azure/storage/common/storage-connect-azurite#well-known-storage-account-and-key
KEY: Final = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

_ENTRY: Final = Path(__file__).parent / "node_modules" / "azurite" / "dist" / "src" / "table" / "main.js"
_HOST: Final = "127.0.0.1"
_PORT_ATTEMPTS: Final = 5
_START_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.02


class AzuriteError(Exception):
    """Azurite is not installed, or did not start."""


class _PortTakenError(AzuriteError):
    """Another process bound the port between its choice and Azurite's start."""


def connection_string(endpoint: str) -> str:
    """Return the connection string of the development account at `endpoint`, which ends in the account's name."""
    protocol = endpoint.partition(":")[0]
    parts = {"DefaultEndpointsProtocol": protocol, "AccountName": ACCOUNT, "AccountKey": KEY}
    return ";".join(f"{name}={value}" for name, value in {**parts, "TableEndpoint": endpoint}.items())


class Azurite:
    """Azurite's table service on a free loopback port, its data in a folder that lives as long as it does.

    Args:
        authority: Signs the certificate of an https endpoint, which takes a managed identity's bearer token
            too. Without it the endpoint is http, to which Azure's clients send no bearer token.
    """

    account: Final = ACCOUNT

    def __init__(self, *, authority: trustme.CA | None = None) -> None:
        self.port = 0
        self._authority = authority
        self._resources = ExitStack()
        self._folder = Path()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with ExitStack() as resources:
            folder = tempfile.TemporaryDirectory(prefix="azurite-", ignore_cleanup_errors=True)
            self._folder = Path(resources.enter_context(folder))
            resources.callback(self.stop)
            self._start_on_free_port()
            self._resources = resources.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    @property
    def endpoint(self) -> str:
        """The URL of the table service, with the account's name in its path as Azurite has it."""
        return f"{'https' if self._authority else 'http'}://{_HOST}:{self.port}/{ACCOUNT}"

    @property
    def connection_string(self) -> str:
        """What a client needs to sign in with the development account's key."""
        return connection_string(self.endpoint)

    def start(self) -> None:
        """Start on the port and folder of before; returns when Azurite listens.

        Raises:
            AzuriteError: Azurite is not installed, or ended or kept silent instead of listening.
        """
        log = self._folder / "output.log"
        with log.open("wb") as output:
            # AZURITE_ACCOUNTS would replace the development account.
            environment = {name: value for name, value in os.environ.items() if name != "AZURITE_ACCOUNTS"}
            self._process = subprocess.Popen(
                self._command(), stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment
            )
        deadline = time.monotonic() + _START_SECONDS
        # Its own word, since whatever answers on the port could be another process that took it.
        while b"successfully started" not in (said := log.read_bytes()):
            ended = self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                self.stop()
                # Read anew: it may have written between the last look and its end.
                said = log.read_bytes()
                error = _PortTakenError if b"EADDRINUSE" in said else AzuriteError
                how = "ended" if ended else f"did not start within {_START_SECONDS:.0f} s"
                raise error(f"Azurite {how} on port {self.port}: {said.decode(errors='replace').strip()}")
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """End Azurite, as in an outage of storage; its data stays for the next start."""
        process, self._process = self._process, None
        if process is None:
            return
        # On this signal Azurite writes its tables to disk; on a harsher one it loses the last 5 s of writes.
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def restart(self) -> None:
        """Stop and start on the same port with the same data."""
        self.stop()
        self.start()

    def _start_on_free_port(self) -> None:
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            self.port = _free_port()
            try:
                return self.start()
            except _PortTakenError:
                if attempt == _PORT_ATTEMPTS:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _command(self) -> list[str]:
        node = which("node")
        if node is None or not _ENTRY.is_file():
            missing = "node is not on the PATH" if node is None else f"{_ENTRY} does not exist"
            raise AzuriteError(f"{missing}: install Node.js, then run `make` to install Azurite")
        command = [node, str(_ENTRY), "--tableHost", _HOST, "--tablePort", str(self.port)]
        # A client newer than Azurite may name a version of the API that it has not heard of.
        command += [
            "--skipApiVersionCheck",
            "--disableTelemetry",
            "--silent",
            "--location",
            str(self._folder),
        ]
        if self._authority:
            certificate, key = self._write_certificate(self._authority)
            command += ["--oauth", "basic", "--cert", str(certificate), "--key", str(key)]
        return command

    def _write_certificate(self, authority: trustme.CA) -> tuple[Path, Path]:
        issued = authority.issue_cert("localhost", _HOST)
        certificate, key = self._folder / "certificate.pem", self._folder / "key.pem"
        issued.cert_chain_pems[0].write_to_path(certificate)
        issued.private_key_pem.write_to_path(key)
        return certificate, key


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port

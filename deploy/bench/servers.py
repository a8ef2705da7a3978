"""Postgres 15 and Kafka on this machine, both also with TLS, which end with this process."""

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

from confluent_kafka.admin import AdminClient

import schemas
from settings import CLIENTS, REPOSITORY, TOOLS, WALPOST

CERTIFICATE = """
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -keyout ca.key -out ca.pem -subj /CN=ca
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server.key -out server.csr -subj /CN=localhost
printf 'subjectAltName = DNS:localhost,IP:127.0.0.1' >ext
openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile ext -out server.pem
cat server.key server.pem >both.pem
chmod 600 server.key both.pem
"""


def free_ports(count, taken=set()):
    """The first of neighbouring ports below the kernel's ephemeral range that nobody listens on."""
    for first in range(20_000 + os.getpid() % 10_000, 32_000):
        ports = range(first, first + count)
        try:
            for port in ports:
                with socket.socket() as listener:
                    listener.bind(("127.0.0.1", port))
        except OSError:
            continue
        if taken.isdisjoint(ports):
            taken.update(ports)
            return first
    raise SystemExit("no free port between 20000 and 32000 on 127.0.0.1")


class Servers:
    """Where they are, and what can be asked of them."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="walpost-bench-"))
        # Beside it, so that each guard of deploy/dev removes the folder of its own server, however this ends.
        self.postgres, self.kafka = Path(f"{self.folder}-postgres"), Path(f"{self.folder}-kafka")
        # The broker's controller takes the port after its own, the listener with TLS the one after that.
        self.port, self.kafka_port, self.http_port = free_ports(1), free_ports(3), free_ports(2)
        self.certificates = self.folder / "certificates"
        self.certificates.mkdir()
        subprocess.run(["sh", "-ec", CERTIFICATE], cwd=self.certificates, check=True, capture_output=True)
        # No waiting for the disk, and no checkpoint in the middle: both would be noise of the machine.
        settings = ["fsync=off", "max_wal_size=20GB", "checkpoint_timeout=1h", "shared_buffers=256MB", "autovacuum=off",
                    "max_replication_slots=60", "max_wal_senders=20", "logical_decoding_work_mem=256MB",
                    "wal_sender_timeout=60s"]
        owner = ["--with-parent", str(os.getpid()), "--temporary"]
        self.script("postgres", "start", "--major", "15", "--port", str(self.port), "--dir", self.postgres,
                    *owner, *(word for setting in settings for word in ("-c", setting)))
        self.serve_tls()
        self.script("kafka", "start", "--port", str(self.kafka_port), "--dir", self.kafka, *owner, "--",
                    "log.message.timestamp.type=LogAppendTime", "auto.create.topics.enable=false",
                    *self.kafka_listeners())
        self.registry = self.start_registry(owner)
        self.bootstrap = f"127.0.0.1:{self.kafka_port}"
        self.bootstrap_tls = f"127.0.0.1:{self.kafka_port + 2}"
        self.postmaster = int((self.postgres / "data/postmaster.pid").read_text().split()[0])
        self.broker = int((self.kafka / "pid").read_text())
        # A copy: a build that goes on beside the measurement must not change what is measured.
        self.walpost = shutil.copy(WALPOST, self.folder / "walpost")
        self.admin = AdminClient({"bootstrap.servers": self.bootstrap})

    def __getstate__(self):
        """What another process of the benchmark is given: all but the client, which has threads."""
        return {**self.__dict__, "admin": None}

    def start_registry(self, owner):
        """Has each schema under a subject of its own. Returns the URL; None when no contestant asks it."""
        self.registry_folder = Path(f"{self.folder}-registry")
        if not any(f"walpost-{schema}" in TOOLS for schema in schemas.SCHEMAS):
            return None
        port = free_ports(1)
        self.script("registry", "start", "--port", str(port), "--dir", self.registry_folder, *owner)
        url = f"http://127.0.0.1:{port}/apis/ccompat/v7"
        schemas.register(url)
        return url

    def serve_tls(self):
        """Gives Postgres its certificate; only a client that asks for TLS gets it."""
        data = self.postgres / "data"
        for name in ("server.pem", "server.key"):
            shutil.copy(self.certificates / name, data / name)
            if os.getuid() == 0:
                shutil.chown(data / name, "nobody", "nogroup")
        self.sql("alter system set ssl_cert_file = 'server.pem'", "alter system set ssl_key_file = 'server.key'",
                 "alter system set ssl = on", "select pg_reload_conf()")

    def kafka_listeners(self):
        plain, controller, tls = (f"127.0.0.1:{self.kafka_port + more}" for more in range(3))
        return [f"listeners=PLAINTEXT://{plain},CONTROLLER://{controller},SSL://{tls}",
                f"advertised.listeners=PLAINTEXT://{plain},SSL://{tls}",
                "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SSL:SSL",
                "ssl.keystore.type=PEM", f"ssl.keystore.location={self.certificates / 'both.pem'}",
                "ssl.client.auth=none"]

    def script(self, name, *arguments, **environment):
        environment = {**os.environ, "KAFKA_DEV_JVM": "-Xms512m -Xmx1g", **environment}
        subprocess.run([REPOSITORY / "deploy/dev" / name, *arguments], check=True, env=environment)

    def sql(self, *statements):
        words = [word for statement in statements for word in ("-c", statement)]
        out = subprocess.run([CLIENTS / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", self.url(), *words],
                             check=True, stdout=subprocess.PIPE, text=True)
        return out.stdout.strip()

    def url(self):
        return f"postgres://postgres@127.0.0.1:{self.port}/postgres"

    def url_tls(self):
        return f"{self.url()}?sslmode=verify-full&sslrootcert={self.certificates / 'ca.pem'}"

    def walsenders(self):
        """The process ids of the walsenders; one, or one a shard."""
        found = set()
        children = Path(f"/proc/{self.postmaster}/task/{self.postmaster}/children").read_text().split()
        for child in children:
            try:
                if b"walsender" in Path(f"/proc/{child}/cmdline").read_bytes():
                    found.add(int(child))
            except OSError:
                pass
        return found

    def stop(self):
        self.script("postgres", "kill", "--dir", self.postgres)
        self.script("kafka", "kill", "--dir", self.kafka)
        if self.registry:
            self.script("registry", "kill", "--dir", self.registry_folder)
        shutil.rmtree(self.folder, ignore_errors=True)

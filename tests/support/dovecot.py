"""Dovecot for the tests: a private instance on loopback ports, started by root or an ordinary user.

Its files are in the run's directory, so that a test can also damage them.
"""

from __future__ import annotations

import contextlib
import getpass
import grp
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import time
from itertools import count

from tests.support import planted, run_directory
from tests.support.certificates import Certificate
from tests.support.imap_server import ImapServer, User

INSTALL = "apt-get install --no-install-recommends dovecot-imapd"
_instances = count(1)
_numbers = count(1)

USERS = 300

_WITHOUT_PUSH = (
    "IMAP4rev1 SASL-IR ID ENABLE SORT THREAD=REFERENCES MULTIAPPEND UNSELECT CHILDREN NAMESPACE UIDPLUS"
    " LIST-EXTENDED CONDSTORE QRESYNC ESEARCH SEARCHRES WITHIN LIST-STATUS BINARY MOVE STATUS=SIZE"
    " LITERAL+ SPECIAL-USE"
)


def offering(push: str) -> dict[str, str]:
    """Return the options of a Dovecot that reports changes by ``notify``, by ``idle`` only, or by ``none``.

    ``dovecot_with(**offering("idle"))``. Each session that listens takes one of the user's inotify instances,
    of which many systems allow 128: more sessions are told of changes only after 13 to 30 s.
    """
    capabilities = {"idle": f"{_WITHOUT_PUSH} IDLE", "none": _WITHOUT_PUSH}
    return {} if push == "notify" else {"capabilities": capabilities[push]}


def find() -> str | None:
    """Return the path of the dovecot program, or None if it is not installed."""
    return shutil.which("dovecot") or shutil.which("dovecot", path="/usr/sbin:/usr/local/sbin")


class Dovecot(ImapServer):
    """One running instance. ``port`` serves plaintext, with a certificate also STARTTLS; ``tls_port`` TLS."""

    def __init__(
        self,
        *,
        storage: str = "sdbox",
        capabilities: str | None = None,
        certificate: Certificate | None = None,
        separator: str = "/",
        prefix: str = "",
        settings: str = "",
    ) -> None:
        """Start an instance.

        `capabilities` replaces those that Dovecot offers (``IMAP4rev1 ID``), `prefix` puts folders under a
        namespace (``INBOX.``), and `settings` are further lines of dovecot.conf.
        """
        self.directory = run_directory.current() / f"dovecot-{os.getpid()}-{next(_instances)}"
        self.port = run_directory.free_port()
        self.tls_port = run_directory.free_port() if certificate else 0
        self.separator, self.prefix, self._storage = separator, prefix, storage
        self._process: subprocess.Popen[bytes] | None = None
        for name in ("run", "state", "mail"):
            (self.directory / name).mkdir(parents=True)
        if os.geteuid() == 0:
            shutil.chown(self.directory / "mail", "nobody", _group_of("nobody"))
        self._passwords = self.directory / "passwords"
        # create users before the start: Dovecot notices later ones only in the next second
        self._users = [
            self._user(f"user{next(_numbers)}-{os.getpid()}@example.test", secrets.token_urlsafe(18))
            for _ in range(USERS)
        ]
        self._add_passwords(self._users)
        self._config = self.directory / "dovecot.conf"
        self._config.write_text(self._configuration(capabilities, certificate) + settings)
        self.start()

    def _configuration(self, capabilities: str | None, certificate: Certificate | None) -> str:
        mail_user = "nobody" if os.geteuid() == 0 else getpass.getuser()
        group = _group_of(mail_user)
        offered = f"imap_capability = {capabilities}" if capabilities else ""
        tls = "ssl = no"
        if certificate:
            tls = f"ssl = yes\nssl_cert = <{certificate.chain_file}\nssl_key = <{certificate.key_file}"
        return f"""
base_dir = {self.directory}/run
state_dir = {self.directory}/state
log_path = {self.directory}/log
protocols = imap
listen = {self.host}
{tls}
disable_plaintext_auth = no
auth_failure_delay = 0
default_internal_user = {mail_user}
default_login_user = {mail_user}
default_internal_group = {group}
mail_uid = {mail_user}
mail_gid = {group}
first_valid_uid = 0
first_valid_gid = 0
mail_fsync = never
mail_home = {self.directory}/mail/%u
mail_location = {self._storage}:~/{self._storage}
mail_max_keyword_length = 200
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {self._passwords}
}}
userdb {{
  driver = static
  args = uid={mail_user} gid={group}
}}
namespace inbox {{
  inbox = yes
  separator = {self.separator}
  prefix = {self.prefix}
  mailbox Drafts {{
    special_use = \\Drafts
  }}
  mailbox Sent {{
    special_use = \\Sent
  }}
  mailbox Junk {{
    special_use = \\Junk
  }}
  mailbox Trash {{
    special_use = \\Trash
  }}
  mailbox Archive {{
    special_use = \\Archive
  }}
}}
protocol imap {{
  {offered}
  mail_max_userip_connections = 1000
}}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  chroot =
}}
service imap-login {{
  chroot =
  service_count = 0
  inet_listener imap {{
    port = {self.port}
  }}
  inet_listener imaps {{
    port = {self.tls_port}
    ssl = yes
  }}
}}
service imap {{
  process_limit = 1000
}}
"""

    # -- the process -------------------------------------------------------------------------------

    def start(self) -> None:
        """Start and wait for connections to be accepted; raises RuntimeError with configuration and log."""
        program = find()
        assert program, f"Dovecot is missing; run: {INSTALL}"
        self._process = run_directory.spawn(
            [program, "-F", "-c", str(self._config)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        try:
            run_directory.wait_until(self._answers, "Dovecot")
        except (TimeoutError, ChildProcessError) as error:
            self.kill()
            raise RuntimeError(f"{error}\n{self.describe()}") from None

    def _answers(self) -> bool:
        assert self._process
        if self._process.poll() is not None:
            output = self._process.stderr.read() if self._process.stderr else b""
            raise ChildProcessError(f"Dovecot does not start: {output.decode(errors='replace')}")
        try:
            with socket.create_connection((self.host, self.port), timeout=5) as probe:
                return probe.recv(4) == b"* OK"
        except OSError:
            return False

    def describe(self) -> str:
        """Return the configuration as Dovecot reads it, and the end of its log."""
        doveconf = shutil.which("doveconf") or "doveconf"
        doveconf_run = subprocess.run(
            [doveconf, "-n", "-c", str(self._config)], capture_output=True, text=True, check=False
        )
        log = self.directory / "log"
        tail = log.read_text(errors="replace")[-4000:] if log.exists() else "(no log)"
        return f"{doveconf_run.stdout}{doveconf_run.stderr}\n--- log ---\n{tail}"

    def stop(self) -> None:
        """Stop in order: sessions get BYE."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill Dovecot and all its sessions: clients see a reset or an end of file, no BYE."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if how == signal.SIGTERM:
            process.send_signal(how)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
        run_directory.end(process.pid)
        process.wait()
        if process.stderr:
            process.stderr.close()
        run_directory.forget(process.pid)
        (self.directory / "run" / "master.pid").unlink(missing_ok=True)

    def restart(self) -> None:
        """Stop and start again on the same ports, with the same mail."""
        self.stop()
        self.start()

    # -- users -------------------------------------------------------------------------------------

    def new_user(self, name: str | None = None, password: str | None = None) -> User:
        """Return a user with an empty mailbox; the password is registered as a secret (see ``planted``)."""
        if name is None and password is None and self._users:
            user = self._users.pop()
            planted.keep(user.password)
            return user
        name = name or f"user{next(_numbers)}-{os.getpid()}@example.test"
        user = self._user(name, password or secrets.token_urlsafe(18))
        planted.keep(user.password)
        self._add_passwords([user])
        self._wait_for_second()
        return user

    def set_password(self, user: User, password: str) -> User:
        """Change the password. Its length must differ, or Dovecot may notice the change late."""
        assert len(password) != len(user.password)
        lines = self._passwords.read_text().splitlines(keepends=True)
        kept = [line for line in lines if not line.startswith(f"{user.name}:")]
        self._passwords.write_text("".join(kept) + f"{user.name}:{{PLAIN}}{planted.keep(password)}\n")
        self._wait_for_second()
        return User(user.name, password, user.directory)

    def _user(self, name: str, password: str) -> User:
        return User(name, password, self.directory / "mail" / name)

    def _add_passwords(self, users: list[User]) -> None:
        with self._passwords.open("a") as file:
            file.writelines(f"{user.name}:{{PLAIN}}{user.password}\n" for user in users)

    @staticmethod
    def _wait_for_second() -> None:
        # Dovecot checks its password file at most once a second
        time.sleep(1.1)


def _group_of(user: str) -> str:
    return grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name

"""PostgreSQL on the other side of a veth pair with an MTU of 1500, in a network namespace of its own: packets, segments
and a round trip, which the loopback has not. Needs root (network namespaces, veth).

The tests' own connections go by the unix socket, which no network namespace divides. Must never leave the namespace
behind: it ends with the servers, and it is named after the process that made it, so the next start sweeps it away."""
import contextlib
import os
import subprocess

from servers import Servers

PREFIX = "lct"
HERE, THERE = "198.18.77.1", "198.18.77.2"  # of the range that is set aside for tests of network devices


def ip(*words):
    done = subprocess.run(["ip", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def sweep_old_namespaces():
    """Those whose maker is gone. The pair ends with the namespace that one end of it is in."""
    for line in ip("netns", "list").splitlines():
        maker = line.split()[0].removeprefix(PREFIX) if line.startswith(PREFIX) else ""
        if maker.isdigit() and not os.path.exists(f"/proc/{maker}"):
            ip("netns", "del", PREFIX + maker)


class FarServers(Servers):
    """As Servers; PostgreSQL's address for apps is `address`."""
    address = THERE

    def start(self):
        sweep_old_namespaces()
        self.namespace = f"{PREFIX}{os.getpid()}"
        ip("netns", "add", self.namespace)
        here, there = f"{self.namespace}a", f"{self.namespace}b"
        peer = ("peer", "name", there, "mtu", "1500", "netns", self.namespace)
        ip("link", "add", here, "mtu", "1500", "type", "veth", *peer)
        ip("addr", "add", f"{HERE}/30", "dev", here)
        ip("link", "set", here, "up")
        ip("-n", self.namespace, "addr", "add", f"{THERE}/30", "dev", there)
        ip("-n", self.namespace, "link", "set", there, "up")
        ip("-n", self.namespace, "link", "set", "lo", "up")
        super().start()

    def stop(self):
        super().stop()
        if getattr(self, "namespace", None):
            with contextlib.suppress(RuntimeError):
                ip("netns", "del", self.namespace)
            self.namespace = None

    def postgres_settings(self):
        with open(self.path("pg", "data", "pg_hba.conf"), "a", encoding="utf-8") as rules:
            rules.write(f"host all all {HERE}/32 scram-sha-256\n")
        return super().postgres_settings() + f"listen_addresses = '127.0.0.1, {THERE}'\n"

    def launch(self, name, argv, drop=True, death_signal=9):
        if name != "postgres":
            return super().launch(name, argv, drop, death_signal)
        user = ["setpriv", f"--reuid={self.account.pw_uid}", f"--regid={self.account.pw_gid}", "--clear-groups",
                "--pdeathsig", "QUIT"]
        return super().launch(name, ["ip", "netns", "exec", self.namespace, *user, *argv], False, death_signal)

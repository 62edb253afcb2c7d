"""PostgreSQL, PgBouncer and Redis behind a router that translates addresses: two network namespaces, the router's and
the servers', and nftables' masquerade between them, which changes address and port of every connection. Needs root.

   here 198.18.79.1 ── 198.18.79.2 router 198.18.79.5 ── 198.18.79.6 servers

Must never leave a namespace behind, nor a rule or a route outside of them: they end with the servers, and are named
after the process that made them, so the next start sweeps them away. The route here goes with its device."""
import contextlib
import os
import subprocess

from far_servers import ip
from servers import Servers

ROUTER, SERVERS = "lcnr", "lcns"
HERE, GATE, OUTSIDE, THERE = "198.18.79.1", "198.18.79.2", "198.18.79.5", "198.18.79.6"
RULES = f"""
table ip nat {{
    chain after {{
        type nat hook postrouting priority 100;
        ip saddr {HERE} ip protocol tcp masquerade to :20000-40000 random
    }}
}}
"""


def sweep_old_namespaces():
    for line in ip("netns", "list").splitlines():
        name = line.split()[0]
        if name.startswith((ROUTER, SERVERS)) and name[len(ROUTER):].isdigit() and \
                not os.path.exists(f"/proc/{name[len(ROUTER):]}"):
            ip("netns", "del", name)


class NatServers(Servers):
    """As Servers; all of them are at `address`."""
    address = pooler_address = redis_address = THERE
    listens_on = ("127.0.0.1", THERE)

    def start(self):
        sweep_old_namespaces()
        me = os.getpid()
        self.router, self.inside = f"{ROUTER}{me}", f"{SERVERS}{me}"
        for name in (self.router, self.inside):
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        self._pair((None, f"lcn{me}a", HERE), (self.router, f"lcn{me}b", GATE))
        self._pair((self.router, f"lcn{me}c", OUTSIDE), (self.inside, f"lcn{me}d", THERE))
        ip("route", "add", f"{THERE}/32", "via", GATE)
        self._in(self.router, ["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"])
        self._in(self.router, ["nft", "-f", "-"], input=RULES)
        super().start()

    def stop(self):
        super().stop()
        for name in (getattr(self, "inside", None), getattr(self, "router", None)):
            with contextlib.suppress(RuntimeError):
                if name:
                    ip("netns", "del", name)
        self.inside = self.router = None

    def _pair(self, *ends):
        """Two ends of a veth pair: (namespace or None, device, address)."""
        (_, first, _), (there, second, _) = ends
        ip("link", "add", first, "type", "veth", "peer", "name", second, "netns", there)
        if ends[0][0]:
            ip("link", "set", first, "netns", ends[0][0])
        for namespace, device, address in ends:
            where = ["-n", namespace] if namespace else []
            ip(*where, "addr", "add", f"{address}/30", "dev", device)
            ip(*where, "link", "set", device, "up")

    @staticmethod
    def _in(namespace, words, **more):
        done = subprocess.run(["ip", "netns", "exec", namespace, *words], capture_output=True, text=True, check=False,
                              **({"stdin": subprocess.DEVNULL} if "input" not in more else {}), **more)
        if done.returncode:
            raise RuntimeError(f"{words}: {done.stderr.strip()}")

    def postgres_settings(self):
        with open(self.path("pg", "data", "pg_hba.conf"), "a", encoding="utf-8") as rules:
            rules.write("host all all 198.18.79.0/24 scram-sha-256\n")
        return super().postgres_settings() + f"listen_addresses = '127.0.0.1, {THERE}'\n"

    def launch(self, name, argv, drop=True, death_signal=9):
        signal_name = "QUIT" if name == "postgres" else "KILL"
        user = ["setpriv", f"--reuid={self.account.pw_uid}", f"--regid={self.account.pw_gid}", "--clear-groups",
                "--pdeathsig", signal_name]
        return super().launch(name, ["ip", "netns", "exec", self.inside, *user, *argv], False, death_signal)

"""Where and as whom lastcall runs: PID 1 of a pid namespace or an ordinary process, root or an ordinary user.

When the tests themselves run as an ordinary user, "root" is the root of a user namespace.
"""
import os

from runner import NOBODY, Run, as_user, bare

PLACES = ("pid1-root", "pid1-user", "plain-root", "plain-user")


class Place:
    def __init__(self, name, directory, stage):
        self.name, self.directory, self.stage = name, directory, stage
        self.pid1 = name.startswith("pid1")
        self.ordinary = name.endswith("user")

    def prefix(self):
        return as_user(NOBODY) if self.ordinary and os.geteuid() == 0 else []

    def program(self, name):
        """lastcall or one of the apps, where this place's user may run it."""
        path = os.path.join(self.stage, name)
        assert os.path.exists(path), f"build/{name} is not there: run `make`"
        return path

    def behave(self, *words):
        return [self.program("c/behave"), *words]

    def lastcall(self, argv, grace="5s", options=(), name="lastcall", **more):
        report = os.path.join(self.directory, f"{name}.report.json")
        words = [self.program("lastcall"), *(["--grace", grace] if grace else []), "--report", report, *options]
        return Run([*words, "--", *argv], self.directory, name=name, prefix=self.prefix(), pid1=self.pid1, **more)

    def bare(self, argv, name="bare", **more):
        """Without lastcall, and never PID 1: a bare PID 1 ignores what it does not handle."""
        return bare(argv, self.directory, name=name, prefix=self.prefix(), **more)

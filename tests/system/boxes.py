"""Real containers (crun): a command as Docker's, Podman's or no seccomp profile would have it, as root with the
capabilities that container runtimes leave, as an ordinary user with none, on a read-only root.

The profiles say in few words what those of the runtimes mean for a process in them, not what their files list: which
calls are refused, and how. A box shares the network with us, as a pod's containers do with each other, and has its own
mounts, processes, host name and IPC. No cgroup is made for it, so it runs also where none can be.

Must never leave anything behind: its files lie in the test's directory, its mounts die with it."""
import contextlib
import dataclasses
import itertools
import json
import os
import shutil
import subprocess

from runner import MARK, ROOT, Run
from servers import wait_until

ROOT_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "SETFCAP",
                     "NET_BIND_SERVICE", "SYS_CHROOT")
DOCKERS_MORE = ("MKNOD", "NET_RAW", "AUDIT_WRITE")
# What no profile allows to a process without CAP_SYS_ADMIN and its like.
ADMINISTRATION = """acct add_key bpf clock_settime delete_module fanotify_init finit_module init_module ioperm iopl
    kexec_file_load kexec_load lookup_dcookie move_pages open_by_handle_at perf_event_open quotactl quotactl_fd
    request_key settimeofday swapoff swapon userfaultfd vhangup""".split()
NAMESPACES = """fsconfig fsmount fsopen fspick mount mount_setattr move_mount open_tree pivot_root setns umount
    umount2 unshare""".split()
IO_URING = "io_uring_enter io_uring_register io_uring_setup".split()
DOCKERS = [*IO_URING, *"get_mempolicy keyctl mbind set_mempolicy syslog".split()]
OF_PTRACE = "kcmp pidfd_getfd process_madvise".split()  # allowed by Docker with CAP_SYS_PTRACE in the bounding set
CLONE_NEW = [1 << bit for bit in (17, 25, 26, 27, 28, 29, 30)]
NUMBERS = itertools.count(1)
EPERM, ENOSYS, EINVAL = 1, 38, 22
AF_NETLINK, AF_ALG, AF_VSOCK, NETLINK_AUDIT = 16, 38, 40, 9


def refuse(names, errno=EPERM, *args):
    rule = {"names": list(names), "action": "SCMP_ACT_ERRNO", "errnoRet": errno}
    return {**rule, "args": list(args)} if args else rule


def when(index, value, op="SCMP_CMP_EQ", two=0):
    return {"index": index, "value": value, "valueTwo": two, "op": op}


def dockers_rules(capabilities):
    """Docker 25 to 29, containerd 2: Kubernetes' RuntimeDefault."""
    ptrace = [] if "SYS_PTRACE" in capabilities else OF_PTRACE
    return [refuse([*ADMINISTRATION, *NAMESPACES, *DOCKERS, *ptrace]), refuse(["clone3"], ENOSYS),
            *(refuse(["clone"], EPERM, when(0, flag, "SCMP_CMP_MASKED_EQ", flag)) for flag in CLONE_NEW),
            *(refuse(["socket"], EPERM, when(0, family)) for family in (AF_ALG, AF_VSOCK))]


def podmans_rules(capabilities):
    """Podman 4, CRI-O: namespaces are the kernel's affair, and pidfd_getfd(2) is allowed."""
    ptrace = [] if "SYS_PTRACE" in capabilities else ["kcmp", "process_madvise"]
    return [refuse([*ADMINISTRATION, *ptrace]), refuse(IO_URING, ENOSYS),
            refuse(["socket"], EINVAL, when(0, AF_NETLINK), when(2, NETLINK_AUDIT))]


def allow_but(rules):
    return {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules} if rules else None


def own_profile(_):
    """The file that the project ships, as it is."""
    with open(os.path.join(ROOT, "config", "seccomp", "lastcall.json"), encoding="utf-8") as file:
        return json.load(file)


PROFILES = {"docker": lambda capabilities: allow_but(dockers_rules(capabilities)),
            "podman": lambda capabilities: allow_but(podmans_rules(capabilities)),
            "unconfined": lambda _: None, "lastcall": own_profile}


@dataclasses.dataclass(frozen=True)
class Box:
    """One kind of container. `drops_to`: lastcall's app is started by a program that becomes this uid."""
    name: str
    profile: str = "docker"
    uid: int = 0
    read_only: bool = False
    drops_to: int = None
    more: tuple = ()         # capabilities beside the runtime's own
    without: tuple = ()      # capabilities that it has not
    refused: tuple = ()      # system calls that are refused beside the profile's
    hands: str = "pidfd_getfd"

    def capabilities(self):
        """Those of the bounding set. An ordinary user has the set, and none of them."""
        dockers = DOCKERS_MORE if self.profile != "podman" else ()
        own = () if self.uid and not self.more else (*ROOT_CAPABILITIES, *dockers)
        return [name for name in (*own, *self.more) if name not in self.without]

    def seccomp(self):
        """What config.json says of it, or None."""
        found = PROFILES[self.profile](self.capabilities())
        if self.refused:
            found["syscalls"].append(refuse(self.refused))
        return found

    def app_prefix(self):
        """What an entrypoint script would say before the app."""
        if self.drops_to is None:
            return []
        return ["setpriv", f"--reuid={self.drops_to}", f"--regid={self.drops_to}", "--clear-groups"]


# The kinds that apps are stopped in.
PTRACE = {"hands": "ptrace"}
USER = {"uid": 10001}
BOXES = {box.name: box for box in (
    Box("docker, root", **PTRACE),
    Box("docker, user", **PTRACE, **USER),
    Box("docker, user, read-only", **PTRACE, **USER, read_only=True),
    Box("docker, app drops", **PTRACE, drops_to=1000),
    # cap_drop: [ALL], cap_add: [SETUID, SETGID]: what images with gosu are told to run with
    Box("docker, few capabilities, app drops", **PTRACE, drops_to=1000,
        without=tuple(name for name in (*ROOT_CAPABILITIES, *DOCKERS_MORE) if name not in ("SETUID", "SETGID"))),
    Box("docker, SYS_PTRACE, app drops", more=("SYS_PTRACE",), drops_to=1000),
    Box("our profile, user", "lastcall", **USER, read_only=True),
    Box("podman, root", "podman"),
    Box("podman, user, read-only", "podman", **USER, read_only=True),
    Box("podman, app drops", "podman", drops_to=1000),
    Box("unconfined, root", "unconfined"),
    Box("unconfined, user", "unconfined", **USER),
    Box("unconfined, app drops", "unconfined", drops_to=1000),
)}


# -- the bundle -------------------------------------------------------------------------------------------------------


def make_root(directory):
    """A root file system of this machine's own programs: /usr is mounted into it, the rest is made."""
    root = os.path.join(directory, "root")
    for name in ("usr", "etc", "dev", "proc", "run", "tmp"):
        os.makedirs(os.path.join(root, name), exist_ok=True)
    os.chmod(os.path.join(root, "tmp"), 0o1777)
    for name in ("bin", "sbin", "lib", "lib64", "lib32", "libx32"):
        if os.path.islink("/" + name):
            os.symlink(os.readlink("/" + name), os.path.join(root, name))
        elif os.path.isdir("/" + name):
            os.mkdir(os.path.join(root, name))
    for name in ("passwd", "group", "nsswitch.conf", "ld.so.cache", "hosts"):
        if os.path.exists("/etc/" + name):
            shutil.copy("/etc/" + name, os.path.join(root, "etc", name))
    return root


def bind(path, *options):
    return {"destination": path, "type": "bind", "source": path, "options": ["rbind", *options]}


def mounts(directory, shared):
    unmerged = [f"/{name}" for name in ("bin", "sbin", "lib", "lib64") if not os.path.islink("/" + name)]
    nothing_special = ["nosuid", "noexec", "nodev"]
    return [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": nothing_special},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"]},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": [*nothing_special, "mode=1777"]},
        *(bind(path, "ro") for path in ("/usr", *unmerged) if os.path.isdir(path)),
        *(bind(path, "ro") for path in shared), bind(directory, "rw")]


def config_of(box, argv, environment, root, directory, shared):
    """The OCI runtime's config.json."""
    names = ["CAP_" + name for name in box.capabilities()]
    held = names if box.uid == 0 else []
    seccomp = {"seccomp": box.seccomp()} if box.seccomp() else {}
    return {
        "ociVersion": "1.0.2", "hostname": "box", "root": {"path": root, "readonly": box.read_only},
        "process": {
            "terminal": False, "args": argv, "cwd": directory, "user": {"uid": box.uid, "gid": box.uid},
            "env": [f"{name}={value}" for name, value in environment.items()],
            "noNewPrivileges": box.uid != 0,
            "capabilities": {"bounding": names, "effective": held, "permitted": held, "inheritable": [],
                             "ambient": []}},
        "mounts": mounts(directory, shared),
        "linux": {"namespaces": [{"type": name} for name in ("mount", "pid", "uts", "ipc")], **seccomp}}


# -- a command in a box -----------------------------------------------------------------------------------------------

# crun will not start where cgroups of both versions are mounted, even when it is to leave them alone: it sees one only.
ONE_CGROUP_VERSION = ["unshare", "--mount", "--propagation", "private", "sh", "-c",
                      'umount -l /sys/fs/cgroup/unified 2>/dev/null; exec "$@"', "sh"]
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"


def crun(state, *words):
    return [*ONE_CGROUP_VERSION, "crun", "--root", state, "--cgroup-manager=disabled", *words]


class BoxRun(Run):
    """As Run; argv[0] is PID 1 of the box. `shared`: directories that it may read, by the same names as outside. Its
    bundle is a directory beside the test's."""

    def __init__(self, box, shared, argv, directory, env=None, name="box", **more):
        self.bundle = os.path.join(os.path.dirname(directory), f"{os.path.basename(directory)}.{name}.bundle")
        self.pid_file, self.state = os.path.join(self.bundle, "pid"), os.path.join(self.bundle, "state")
        self.init, self.container = None, f"lastcall-tests-{os.getpid()}-{next(NUMBERS)}"
        self.exec_words = {"PATH": PATH, "HOME": directory, MARK: self.container, **(env or {})}
        root = make_root(self.bundle)
        with open(os.path.join(self.bundle, "config.json"), "w", encoding="utf-8") as file:
            json.dump(config_of(box, argv, self.exec_words, root, directory, shared), file, indent=1)
        words = crun(self.state, "run", "--bundle", self.bundle, "--pid-file", self.pid_file, self.container)
        super().__init__(words, directory, env={MARK: self.container}, name=name, **more)
        self.mark = self.container

    @property
    def pid(self):
        """PID 1 of the box, as we see it."""
        if self.init is None:
            self.init = wait_until(self._read_pid, 5, lambda: f"crun has started it:\n{self.err()}")
        return self.init

    def _read_pid(self):
        assert self.process.poll() is None, f"crun ended with {self.process.returncode}:\n{self.err()}"
        with contextlib.suppress(OSError, ValueError), open(self.pid_file, encoding="ascii") as file:
            return int(file.read())
        return None

    def exec(self, argv, limit=20):
        """A command more in the box, as its user: (code, output, errors)."""
        environment = [word for pair in self.exec_words.items() for word in ("--env", "=".join(pair))]
        done = subprocess.run(crun(self.state, "exec", *environment, self.container, *argv), capture_output=True,
                              stdin=subprocess.DEVNULL, text=True, timeout=limit, check=False)
        return done.returncode, done.stdout, done.stderr

    def __exit__(self, *_):
        super().__exit__()
        shutil.rmtree(self.bundle)


def run_in(box, stage, app_prefix=None):
    """In the place of Run: lastcall, and its app after what starts that, in the box; anything else as ever."""
    before_app = box.app_prefix() if app_prefix is None else app_prefix

    def run(words, directory, prefix=(), **more):
        if words[0] != stage.path("lastcall"):
            return Run(words, directory, prefix=prefix, **more)
        at = words.index("--") + 1
        words = [*words[:at], *before_app, *words[at:]]
        return BoxRun(box, [stage.directory], words, directory, **more)
    return run

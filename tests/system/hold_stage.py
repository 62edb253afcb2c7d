"""What the apps of the hold rows need: node's modules, what javac and go make; and copies that every user may read.

Must never put anything into the tree: node's modules and what is compiled lie under build/."""
import contextlib
import os
import shutil
import subprocess

from runner import C_APPS, PYTHON_APPS, ROOT, stage_for_everyone
from servers import postgres_programs

HOLD_APPS = os.path.join(PYTHON_APPS, "hold")
BUILT = os.path.join(C_APPS, "hold")
NODE_HOME = os.path.join(ROOT, "build", "npm")


def is_newer(made, *sources):
    return os.path.exists(made) and all(os.path.getmtime(made) >= os.path.getmtime(source) for source in sources)


def run_tool(argv, what, **more):
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False,
                          **more)
    assert done.returncode == 0, f"{what}:\n{done.stdout}{done.stderr}"


def install_node_modules():
    """pg and ioredis, the versions that package.json names, under build/."""
    wanted, there = os.path.join(HOLD_APPS, "package.json"), os.path.join(NODE_HOME, "package.json")
    if is_newer(there, wanted) and os.path.exists(os.path.join(NODE_HOME, "node_modules", "pg", "package.json")):
        return
    os.makedirs(NODE_HOME, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(there)
    shutil.copyfile(wanted, there + ".new")
    shutil.copyfile(there + ".new", there)
    try:
        run_tool(["npm", "install", "--prefix", NODE_HOME, "--no-audit", "--no-fund", "--no-package-lock",
                  "--ignore-scripts"], "npm install of what tests/apps/hold/package.json names")
    except BaseException:
        os.unlink(there)  # the next call tries again
        raise


def compile_java():
    source, made = os.path.join(HOLD_APPS, "JdbcPool.java"), os.path.join(BUILT, "JdbcPool.class")
    if not is_newer(made, source):
        run_tool(["javac", "-d", BUILT, source], "javac JdbcPool.java")


def compile_go():
    source, made = os.path.join(HOLD_APPS, "pgx_pool.go"), os.path.join(BUILT, "pgx_pool")
    if not is_newer(made, source):
        run_tool(["go", "build", "-o", made, source], "go build pgx_pool.go",
                 env={**os.environ, "GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOFLAGS": ""})


PREPARED = {"node": install_node_modules, "java": compile_java, "go": compile_go, "": lambda: None}


class Stage:
    """Copies of lastcall and the apps, in a directory where every user may read them."""

    def __init__(self, directory, apps):
        for needed in sorted({app.needs for app in apps}):
            PREPARED[needed]()
        self.directory = stage_for_everyone(directory)
        if any(app.needs == "node" for app in apps):
            shutil.copytree(os.path.join(NODE_HOME, "node_modules"), self.path("node_modules"), dirs_exist_ok=True)

    def path(self, *names):
        return os.path.join(self.directory, *names)

    def words(self, app):
        places = {"python": self.path("python"), "hold": self.path("python", "hold"), "c": self.path("c", "hold"),
                  "postgres": postgres_programs()}
        return [word.format(**places) for word in app.command]

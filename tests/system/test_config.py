"""Bad input: one clear line each, the right exit code, and never a password; and what is understood.

A running app goes on running whatever lastcall cannot do beside it.
"""
import json
import os
import shutil
import stat
import subprocess

import pytest

from runner import AGENT, LASTCALL, NOBODY, as_user, c_app, lastcall, lastcall_verb
from servers import PASSWORD, wait_until

SECRET = "hunter2-never-print-me"


def refused(directory, env=None, options=(), says=(), lines=1):
    """`run` must end with 125 before the app is started, `check` with 1, and each says the words."""
    started = os.path.join(directory, "started")
    with lastcall(["touch", started], directory, options=options, env=env) as run:
        assert run.wait(5) == 125, run.err()
        texts = [run.err()]
    assert not os.path.exists(started), "the app was started"
    code, out, err = lastcall_verb(["check", *options], directory, env)
    assert code == 1, (code, out, err)
    texts.append(err)
    for text in texts:
        assert SECRET not in text, text
        for word in says:
            assert word in text, (word, text)
        assert len(text.strip().splitlines()) == lines, text


def write(directory, text, name="lastcall.yaml"):
    path = os.path.join(directory, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def from_file(directory, text, says, lines=1):
    path = write(directory, text)
    refused(directory, options=["--config", path], says=says, lines=lines)


def test_file_that_is_not_there(directory):
    path = os.path.join(directory, "none.yaml")
    refused(directory, options=["--config", path], says=[path, "No such file"])


def test_file_that_cannot_be_read(directory, stage):
    """As an ordinary user: root can read everything."""
    path = write(directory, "grace_period: 5s\n")
    os.chmod(path, 0)
    prefix = as_user(NOBODY) if os.geteuid() == 0 else []
    code, _, err = lastcall_verb(["check", "--config", path], directory, prefix=prefix,
                                 program=os.path.join(stage, "lastcall"))
    assert code == 1 and path in err and "Permission denied" in err and len(err.strip().splitlines()) == 1, (code, err)


def test_file_that_is_a_directory(directory):
    refused(directory, options=["--config", directory], says=[directory])


def test_file_that_is_no_yaml(directory):
    from_file(directory, "stop:\n  order: 'drain-first\n", says=["lastcall.yaml:", "YAML"])


def test_unknown_key_names_the_nearest(directory):
    from_file(directory, "grace_perod: 5s\n", says=["lastcall.yaml:1:1", "grace_perod", "grace_period"])


def test_unknown_nested_key(directory):
    from_file(directory, "stop:\n  ordr: drain-first\n", says=["lastcall.yaml:2:3", "ordr", "order"])


@pytest.mark.parametrize("value", ["5 parsecs", "-1s", "", "5", "1e99s", "soon"])
def test_bad_duration(directory, value):
    if value == "5":  # a bare number is seconds, or refused: never silently something else
        code, out, err = lastcall_verb(["check", "--config", write(directory, "grace_period: 5\n")], directory)
        assert (code == 0 and "5s" in out) or "lastcall.yaml:1:15" in err, (out, err)
        return
    from_file(directory, f"grace_period: \"{value}\"\n", says=["lastcall.yaml:1:15"])


def test_every_error_at_once(directory):
    from_file(directory, "grace_period: never\nno_such_key: 1\nstop:\n  order: sideways\n",
              says=["lastcall.yaml:1:15", "lastcall.yaml:2:1", "lastcall.yaml:4:10"], lines=3)


def test_anchor_and_alias_are_refused(directory):
    from_file(directory, "grace_period: &time 5s\ndrain:\n  hold: *time\n",
              says=["lastcall.yaml:1:15", "lastcall.yaml:3:9"], lines=2)


def test_duplicate_key_is_refused(directory):
    from_file(directory, "grace_period: 5s\ngrace_period: 6s\n", says=["lastcall.yaml:2:1", "grace_period"])


def test_bad_option_value(directory):
    refused(directory, options=["--log-level", "shouting"], says=["shouting"])


def test_bad_environment_value(directory):
    refused(directory, env={"LASTCALL_GRACE_PERIOD": "whenever"}, says=["LASTCALL_GRACE_PERIOD", "whenever"])


LOGIN = f"app:{SECRET}@"
BAD_URLS = {
    "no scheme": (f"{LOGIN}127.0.0.1/db", ["DATABASE_URL", "column 1"]),
    "empty host and path": ("postgresql:/db", ["DATABASE_URL"]),
    "bad port": (f"postgresql://{LOGIN}127.0.0.1:port/db", ["DATABASE_URL", "column"]),
    "port too large": (f"postgresql://{LOGIN}127.0.0.1:65536/db", ["DATABASE_URL", "column"]),
    "bad percent": (f"postgresql://app:{SECRET}%zz@127.0.0.1/db", ["DATABASE_URL", "column"]),
    "unclosed bracket": (f"postgresql://{LOGIN}[::1/db", ["DATABASE_URL", "column"]),
    "bad limit": (f"postgresql://{LOGIN}127.0.0.1/db?connection_limit=many", ["DATABASE_URL", "connection_limit"]),
    "bad sslmode": (f"postgresql://{LOGIN}127.0.0.1/db?sslmode=maybe", ["DATABASE_URL", "sslmode"]),
}


@pytest.mark.parametrize("name", BAD_URLS)
def test_bad_database_url(directory, name):
    url, says = BAD_URLS[name]
    refused(directory, env={"DATABASE_URL": url}, says=says)


@pytest.mark.parametrize("url, says", [
    (f"redis://:{SECRET}@127.0.0.1:0x7/0", ["REDIS_URL", "column"]),
    (f"redis://:{SECRET}@127.0.0.1/first", ["REDIS_URL", "column"]),
    (f"redis+sentinel://:{SECRET}@127.0.0.1/0", ["REDIS_URL", "column 1"]),
])
def test_bad_redis_url(directory, url, says):
    refused(directory, env={"REDIS_URL": url}, says=says)


FOREIGN = [f"mysql://{LOGIN}127.0.0.1/db", "sqlite:///tmp/x.db", f"mongodb://{LOGIN}127.0.0.1/db",
           f"http://{LOGIN}127.0.0.1/"]


@pytest.mark.parametrize("url", FOREIGN)
def test_foreign_url_in_the_environment_keeps_no_app_from_running(directory, url):
    """An app of another database has a right to its DATABASE_URL: said with the column, and it runs
    without that target."""
    with lastcall(["sh", "-c", "exit 6"], directory, env={"DATABASE_URL": url}) as run:
        assert run.wait(5) == 6, run.err()
        assert "DATABASE_URL, column 1" in run.err() and SECRET not in run.err(), run.err()


@pytest.mark.parametrize("url", FOREIGN)
def test_foreign_url_in_the_file_is_refused(directory, url):
    from_file(directory, f"targets:\n  main:\n    url: {url}\n", says=["lastcall.yaml:3:10", "column 1"])


@pytest.mark.parametrize("url", [f"jdbc:postgresql://127.0.0.1:5441/db?user=app&password={SECRET}",
                                 f"postgresql+psycopg2://{LOGIN}127.0.0.1:5441/db",
                                 f"postgresql+asyncpg://{LOGIN}127.0.0.1:5441/db",
                                 f"postgis://{LOGIN}127.0.0.1:5441/db", f"ecto://{LOGIN}127.0.0.1:5441/db"])
def test_schemes_of_frameworks_are_mapped(directory, url):
    out = understood(directory, {"DATABASE_URL": url})
    assert "port=5441" in out and "kind: postgres" in out, out


def understood(directory, env):
    code, out, err = lastcall_verb(["check"], directory, env)
    assert code == 0, (out, err)
    assert SECRET not in out + err
    return out


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_prismas_parameters_are_stripped(directory, scheme):
    out = understood(directory, {"DATABASE_URL": f"{scheme}://{LOGIN}127.0.0.1:5433/db"
                                                 "?connection_limit=7&pool_timeout=20&connect_timeout=10"
                                                 "&schema=public&statement_cache_size=0&socket_timeout=5"})
    assert "limit: 7" in out, out
    for word in ("pool_timeout", "schema=", "statement_cache_size", "socket_timeout"):
        assert word not in out, out


def test_pgbouncer_in_the_url_makes_two_targets(directory):
    out = understood(directory, {"DATABASE_URL": f"postgres://{LOGIN}127.0.0.1:6432/db"
                                                 "?pgbouncer=true&connection_limit=5",
                                 "DATABASE_URL_DIRECT": f"postgres://{LOGIN}127.0.0.1:5432/db"})
    assert "pgbouncer" in out and "postgres" in out, out


@pytest.mark.parametrize("variable", ["DATABASE_URL_DIRECT", "DIRECT_URL", "DIRECT_DATABASE_URL",
                                      "DATABASE_URL_UNPOOLED"])
def test_names_of_the_direct_url(directory, variable):
    out = understood(directory, {"DATABASE_URL": f"postgres://{LOGIN}127.0.0.1:6432/db?pgbouncer=true",
                                 variable: f"postgres://{LOGIN}127.0.0.1:5499/db"})
    assert "5499" in out, out


@pytest.mark.parametrize("url", [f"redis://:{SECRET}@127.0.0.1:6390/3", f"redis://user:{SECRET}@127.0.0.1:6390",
                                 f"redis://{LOGIN}[::1]:6390/1"])
def test_redis_urls(directory, url):
    assert "6390" in understood(directory, {"REDIS_URL": url})


def test_url_from_a_file(directory):
    path = write(directory, f"postgres://{LOGIN}127.0.0.1:5477/db\n", "secret")
    assert "5477" in understood(directory, {"DATABASE_URL_FILE": path})


def test_url_file_that_is_not_there(directory):
    refused(directory, env={"DATABASE_URL_FILE": "/no/such/file"}, says=["DATABASE_URL_FILE", "/no/such/file"])


def test_precedence(directory):
    """Option over environment over file over default."""
    path = write(directory, "grace_period: 21s\n")
    for options, env, expected in (((), {}, "10s"), (("--config", path), {}, "21s"),
                                   (("--config", path), {"LASTCALL_GRACE_PERIOD": "22s"}, "22s"),
                                   (("--config", path, "--grace", "23s"), {"LASTCALL_GRACE_PERIOD": "22s"}, "23s")):
        code, out, err = lastcall_verb(["check", *options], directory, env)
        assert code == 0 and f"grace_period: {expected}" in out, (expected, out, err)


URL_OF_ALL = {"DATABASE_URL": "postgres://app@127.0.0.1:5432/db"}


def check_misses(directory, says, options=(), env=None, prefix=(), program=None):
    """`check` says each on a line of its own, in this order, prints what is in force all the same, and exits with 1."""
    env = {**URL_OF_ALL, **(env or {})}
    code, out, err = lastcall_verb(["check", *options], directory, env, prefix=prefix, program=program)
    lines = err.strip().splitlines()
    assert code == 1 and len(lines) == len(says), (code, err)
    for line, words in zip(lines, says):
        assert line.startswith("lastcall: ") and all(word in line for word in words), (line, words)
    assert "grace_period:" in out, out
    code, out, err = lastcall_verb(["check", "-o", "json", *options], directory, env, prefix=prefix, program=program)
    found = json.loads(out)
    assert (code, found["valid"], err) == (1, False, ""), (code, out, err)
    assert [f"lastcall: {text}" for text in found["errors"]] == lines and found["error_count"] == len(lines), found
    assert found["keys"]["grace_period"] and found["targets"][0]["kind"] == "postgres", found


def test_check_looks_for_the_user(directory):
    check_misses(directory, [["--user: ", "no-such-user", "/etc/passwd"]], ["--user", "no-such-user"])
    path = write(directory, "user: no-such-user\n")
    check_misses(directory, [[f"{path}:1:7: ", "no-such-user"]], ["--config", path])


def test_check_looks_whether_the_report_can_be_written(directory):
    missing, kept = os.path.join(directory, "none", "report.json"), os.path.join(directory, "kept.json")
    check_misses(directory, [["LASTCALL_REPORT: ", missing, "No such file", "create its directory"]],
                 env={"LASTCALL_REPORT": missing})
    check_misses(directory, [["--report: ", directory, "Is a directory"]], ["--report", directory])
    for good in (kept, "kept.json", "/dev/null"):
        code, _, err = lastcall_verb(["check", "--report", good], directory, URL_OF_ALL)
        assert (code, err) == (0, ""), (good, err)
    assert not os.path.exists(kept), "nothing is written"


def test_check_judges_the_report_as_the_user(directory, stage):
    """The directory is this test's own; another user may not write there."""
    path, program = os.path.join(directory, "report.json"), os.path.join(stage, "lastcall")
    os.chmod(directory, 0o755)
    if os.geteuid() == 0:
        check_misses(directory, [[path, f"uid {NOBODY}", "Permission denied"]],
                     ["--user", str(NOBODY), "--report", path], program=program)
        check_misses(directory, [[path, f"uid {NOBODY}", "Permission denied"]], ["--report", path], program=program,
                     prefix=as_user(NOBODY))
    else:
        os.chmod(directory, 0o555)
        check_misses(directory, [[path, "Permission denied"]], ["--report", path], program=program)
        os.chmod(directory, 0o755)


def test_check_looks_for_the_agent(directory):
    alone = os.path.join(directory, "alone")
    os.mkdir(alone)
    shutil.copy(LASTCALL, alone)
    program = os.path.join(alone, "lastcall")
    check_misses(directory, [[os.path.join(alone, "lastcall-agent"), "No such file", "LASTCALL_AGENT"]],
                 program=program)
    code, _, err = lastcall_verb(["check"], directory, program=program)
    assert (code, err) == (0, ""), "without a server to watch none is needed"
    code, _, err = lastcall_verb(["check"], directory, {**URL_OF_ALL, "LASTCALL_AGENT": AGENT}, program=program)
    assert (code, err) == (0, ""), err


def test_check_says_all_that_is_missing(directory):
    check_misses(directory, [["no-such-user"], ["/nowhere/agent"]],
                 ["--user", "no-such-user", "--report", "/nowhere/report.json"], {"LASTCALL_AGENT": "/nowhere/agent"})


def test_what_check_prints_is_a_file_it_takes(directory):
    _, out, _ = lastcall_verb(["check"], directory, {"DATABASE_URL": "postgres://app@127.0.0.1:5432/db"})
    code, again, err = lastcall_verb(["check", "--config", write(directory, out)], directory)
    assert code == 0, (again, err)


# -- the command ------------------------------------------------------------------------------------------------------

def start_failure(directory, command, code, says):
    with lastcall(command, directory) as run:
        assert run.wait(5) == code, run.err()
        assert len(run.err().strip().splitlines()) == 1, run.err()
        for word in says:
            assert word in run.err(), run.err()


def test_missing_command(directory):
    code, _, err = lastcall_verb(["--grace", "1s", "--"], directory)
    assert code == 125 and "command" in err and len(err.strip().splitlines()) <= 2, (code, err)
    code, _, err = lastcall_verb([], directory)
    assert code == 125 and err, (code, err)


def test_command_that_is_not_there(directory):
    start_failure(directory, ["no-such-command"], 127, ["no-such-command", "No such file"])
    start_failure(directory, ["/no/such/command"], 127, ["/no/such/command", "No such file"])


def test_command_that_cannot_be_executed(directory):
    path = write(directory, "text\n", "not-executable")
    start_failure(directory, [path], 126, [path, "Permission denied"])
    start_failure(directory, [directory], 126, [directory])


def test_script_without_an_interpreter_line_runs_as_in_a_shell(directory):
    path = write(directory, "exit 9\n", "script")
    os.chmod(path, stat.S_IRWXU)
    with lastcall([path], directory) as run:
        assert run.wait(5) == 9, run.err()


def test_interpreter_that_is_not_there(directory):
    path = write(directory, "#!/no/such/interpreter\n", "script")
    os.chmod(path, stat.S_IRWXU)
    start_failure(directory, [path], 127, [path])


# -- beside a running app ---------------------------------------------------------------------------------------------

def test_agent_that_is_not_there(directory):
    """lastcall alone, without its agent beside it: said once, the app runs and ends as it should."""
    alone = os.path.join(directory, "alone")
    os.mkdir(alone)
    shutil.copy(LASTCALL, alone)
    with lastcall([c_app("behave"), "exit", "6"], directory, program=os.path.join(alone, "lastcall"),
                  env={"DATABASE_URL": f"postgres://{LOGIN}127.0.0.1:1/db"}) as run:
        run.ready()
        wait_until(lambda: "lastcall-agent" in run.err(), 5, "it is said")
        run.send()
        assert run.wait(5) == 6, run.err()
        assert SECRET not in run.err()
        assert run.err().count("No such file") <= 2, run.err()
        assert run.report()["unknown"], run.report()


def test_agent_that_ends_at_once(directory):
    """It is started again and again, each tenth of a second while a stop is on; the log says it once."""
    app = [c_app("behave"), "slow", "600"]
    with lastcall(app, directory, env={"DATABASE_URL": f"postgres://{LOGIN}127.0.0.1:1/db",
                                       "LASTCALL_AGENT": "/bin/true", "LASTCALL_LOG_LEVEL": "debug"}) as run:
        run.ready()
        run.send()
        assert run.wait(5) == 0, run.err()
        assert run.err().count("waiting -> up") >= 3, run.err()
        said = [line for line in run.err().splitlines() if "the agent (pid" in line]
        assert len(said) == 1 and "it exited with code 0" in said[0], said


@pytest.mark.parametrize("url", [f"postgres://{LOGIN}127.0.0.1:1/db",
                                 f"postgres://{LOGIN}no-such-host.invalid:5432/db"])
def test_server_that_is_not_there(directory, url):
    with lastcall([c_app("behave"), "exit", "6"], directory, env={"DATABASE_URL": url}) as run:
        run.ready()
        run.send()
        assert run.wait(5) == 6, run.err()
        assert SECRET not in run.err()


def test_wrong_password(database, directory):
    url = database.url("direct").replace(PASSWORD, SECRET)
    with lastcall([c_app("behave"), "exit", "6"], directory, env={"DATABASE_URL": url}) as run:
        run.ready()
        run.agent_pid()
        run.send()
        assert run.wait(5) == 6, run.err()
        assert SECRET not in run.err()
        assert SECRET not in str(run.report())


def test_report_that_cannot_be_written(directory):
    """Said, and the exit code stays the app's."""
    with lastcall([c_app("behave"), "exit", "6"], directory,
                  options=["--report", "/no/such/directory/report.json"]) as run:
        run.ready()
        run.send()
        assert run.wait(5) == 6, run.err()
        assert "/no/such/directory/report.json" in run.err()


def test_password_is_not_in_the_agents_command_line_or_environment_of_the_app(database, directory):
    with lastcall([c_app("behave"), "sleep"], directory, env=database.environment("direct", False)) as run:
        run.ready()
        with open(f"/proc/{run.agent_pid()}/cmdline", "rb") as file:
            assert PASSWORD.encode() not in file.read()


def test_built_programs_are_what_the_house_promises():
    """lastcall is one static file; its agent lies beside it."""
    assert os.path.exists(AGENT), "build/lastcall-agent is not there: run `make`"
    listed = subprocess.run(["ldd", LASTCALL], capture_output=True, text=True, check=False)
    assert "not a dynamic executable" in listed.stdout + listed.stderr, listed.stdout

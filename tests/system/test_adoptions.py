"""The sockets of an app under full load are duplicated by ptrace, hundreds of times, and the app notices nothing.
`make check-hands` does it 10,000 times."""
import pytest

import adoptions
from hold_stage import Stage

ADOPTIONS = 300
APPS = (adoptions.NODE, adoptions.PYTHON)


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    return Stage(str(tmp_path_factory.mktemp("adoptions")), APPS)


@pytest.mark.parametrize("app", APPS, ids=[app.name for app in APPS])
def test_unnoticed(servers, directory, stage, app):
    found = adoptions.measure(servers, app, "full load", ADOPTIONS, directory, stage)
    assert found["way"] == "ptrace" and found["adoptions"] == ADOPTIONS and found["handles"] >= adoptions.LANES, found
    assert found["errors"] == found["not_on_the_server"] == 0 and found["transactions"] > 0, found
    assert found["longest_us"] < 50_000, found

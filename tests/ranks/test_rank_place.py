"""Who a process is among several, and which cores are its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from throughput.errors import OptionError
from throughput.ranks.cores import shares
from throughput.ranks.place import Place, is_first, place, speaker

TORCHRUN = {
    "RANK": "3",
    "LOCAL_RANK": "1",
    "WORLD_SIZE": "4",
    "MASTER_ADDR": "a",
    "MASTER_PORT": "29400",
    "TORCHELASTIC_USE_AGENT_STORE": "True",
    "TORCHELASTIC_RESTART_COUNT": "2",
}


def test_torchrun_tells_the_place() -> None:
    assert place(TORCHRUN) == Place(3, 4, 1, "a", 29400, agent_keeps_store=True, attempt=2)
    assert not is_first(TORCHRUN)
    assert is_first(TORCHRUN | {"RANK": "0"})
    assert speaker(TORCHRUN) == "throughput: rank 3"


@pytest.mark.parametrize("environment", [{}, {"WORLD_SIZE": "1", "RANK": "0"}])
def test_one_process_is_alone(environment: dict[str, str]) -> None:
    assert place(environment) is None
    assert is_first(environment)
    assert speaker(environment) == "throughput"


def test_rank_0_keeps_the_store_where_torchrun_does_not() -> None:
    own = {name: value for name, value in TORCHRUN.items() if name != "TORCHELASTIC_USE_AGENT_STORE"}
    kept = [place(own | {"RANK": rank}) for rank in ("0", "1")]
    assert [one is not None and one.keeps_store for one in kept] == [True, False]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"RANK": None}, "RANK is not set: start with `torchrun"),
        ({"RANK": "one"}, "whole numbers"),
        ({"RANK": "4"}, r"RANK must be in 0\.\.3, got 4"),
    ],
)
def test_half_a_place_is_refused(changes: dict[str, str | None], words: str) -> None:
    told = {name: value for name, value in (TORCHRUN | changes).items() if value is not None}
    with pytest.raises(OptionError, match=words):
        place(told)


def test_cores_that_several_may_use_are_shared_out() -> None:
    both, first, second = frozenset({0, 1, 2, 3}), frozenset({0, 1}), frozenset({2, 3})
    assert shares([("a", both, 4), ("a", both, 4)]) == [2, 2]
    assert shares([("a", both, 4), ("b", both, 4)]) == [4, 4], "each has a machine of its own"
    assert shares([("a", first, 2), ("a", second, 2)]) == [2, 2], "each is bound to cores of its own"
    assert shares([("a", both, 2), ("a", both, 2)]) == [1, 1], "a quota allows two of the four"
    assert shares([("a", first, 2)] * 3) == [1, 1, 1], "never none"


def test_alone_nothing_of_torch_is_imported() -> None:
    code = (
        "import sys\n"
        "from throughput.ranks.company import in_company, joined\n"
        "with in_company() as company, company.group('g', 'cpu') as group, joined(None, 'cpu') as other:\n"
        "    with company.first_on_each_machine():\n"
        "        print(company.size, group.everyone(7), other.turn(3).weight)\n"
        "print('torch' in sys.modules, 'throughput.ranks.group' in sys.modules)\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "WORLD_SIZE"}
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert ran.stdout.split("\n")[:2] == ["1 [7] 1.0", "False False"]

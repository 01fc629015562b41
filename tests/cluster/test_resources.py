"""Plans that fit, and plans that would wait for ever."""

import pytest

from cluster.resources import READER, Demand, check_fits

TRAIN = Demand(what="training workers", count=2, cpus=1.5, gpus=1, remedy="--workers")
DATA = Demand(what="data workers", count=1, cpus=1, remedy="--data-workers")


def test_a_plan_that_just_fits_is_silent():
    check_fits([TRAIN, DATA, READER], {"CPU": 5.0, "GPU": 2.0, "memory": 1.0})
    check_fits([Demand(what="thirds", count=3, cpus=1 / 3, remedy="-")], {"CPU": 1.0})
    check_fits([], {})


def test_a_plan_that_never_fits_names_every_part_and_what_to_change():
    with pytest.raises(ValueError, match="this plan needs 5 CPUs and the cluster has 4") as failure:
        check_fits([TRAIN, DATA, READER], {"CPU": 4.0, "GPU": 2.0})
    for words in (
        "2 x 1.5 for training workers (--workers)",
        "1 x 1 for data workers (--data-workers)",
        "file listing",
    ):
        assert words in str(failure.value)


def test_gpus_are_counted_apart_and_only_their_users_are_named():
    with pytest.raises(ValueError, match="needs 2 GPUs and the cluster has 1: 2 x 1 for training workers") as failure:
        check_fits([TRAIN, DATA, READER], {"CPU": 99.0, "GPU": 1.0})
    assert "data workers" not in str(failure.value)
    with pytest.raises(ValueError, match="has 0: 2 x 1 for training workers"):
        check_fits([TRAIN], {"CPU": 99.0})


def test_parts_that_do_not_run_ask_for_nothing():
    check_fits([Demand(what="idle", count=0, cpus=100, gpus=8, remedy="-")], {"CPU": 1.0})

"""Plans of the two benchmarks: tasks, orders, what is found below a root and what replaces it."""

from pathlib import Path

import pytest

from lifelong.protocols.plans import ORDERS, UNSEEN, inter, intra
from tests.lifelong.runs.runs import config_of

CONFIG = config_of("finetune")
FOLDERS = ("Market-1501-v15.09.15", "cuhksysu4reid", "msmt17/MSMT17_V2", "cuhk03-np", "viper", "SenseReID")


@pytest.fixture
def root(tmp_path: Path) -> str:
    for folder in FOLDERS:
        (tmp_path / folder).mkdir(parents=True)
    return str(tmp_path)


def test_market1501_has_its_published_rule_and_others_are_shuffled():
    stages = intra("market1501:/data/m", 3, CONFIG).stages
    assert [(stage.name, stage.part) for stage in stages] == [("task01", "1/3"), ("task02", "2/3"), ("task03", "3/3")]
    assert {stage.dataset for stage in stages} == {"market1501:/data/m"}
    assert [stage.part for stage in intra("veri-776:/data/v", 2, CONFIG, seed=4).stages] == ["1/2@4", "2/2@4"]
    assert intra("/data/v", 2, CONFIG, rule="ascending").stages[0].part == "1/2"


def test_an_order_finds_its_domains_and_takes_others_in_their_place(root: str):
    plan, missing = inter(CONFIG, order=2, root=root, domains=("dukemtmc=/data/lpw",), unseen=("grid=/data/grid",))
    assert tuple(stage.name for stage in plan.stages) == ORDERS[2]
    assert [stage.dataset for stage in plan.stages] == [
        "/data/lpw",
        f"msmt17:{root}/msmt17/MSMT17_V2",
        f"market1501:{root}/Market-1501-v15.09.15",
        f"cuhk-sysu-lreid:{root}/cuhksysu4reid",
        f"cuhk03-np-detected:{root}/cuhk03-np",
    ]
    assert {stage.identities for stage in plan.stages} == {500}
    assert plan.unseen == (f"viper=viper:{root}/viper", "grid=/data/grid", f"sensereid=sensereid:{root}/SenseReID")
    assert missing == ("i-lids", "prid", "cuhk01", "cuhk02")


def test_domains_of_ones_own_keep_their_order():
    plan, missing = inter(CONFIG, domains=("b=/data/b", "a=/data/a"), unseen=("c=/data/c",), identities=0)
    assert [(stage.name, stage.dataset, stage.identities) for stage in plan.stages] == [
        ("b", "/data/b", 0),
        ("a", "/data/a", 0),
    ]
    assert plan.unseen == ("c=/data/c",)
    assert missing == tuple(UNSEEN)


def test_what_is_missing_is_named(root: str):
    with pytest.raises(ValueError, match=r"no dukemtmc below .* give --domain dukemtmc=SPEC \(DukeMTMC-reID was withd"):
        inter(CONFIG, order=1, root=root)
    with pytest.raises(ValueError, match="order 1 has no domain 'lpw'; it has market1501, cuhk-sysu, dukemtmc"):
        inter(CONFIG, order=1, root=root, domains=("lpw=/data/lpw",))
    with pytest.raises(ValueError, match=r"no market1501, cuhk-sysu, dukemtmc, .* below --root, which is not given"):
        inter(CONFIG, order=1)
    with pytest.raises(ValueError, match="name --order 1 or 2 with --root DIR, or at least two --domain"):
        inter(CONFIG, root=root, domains=("a=/data/a",))
    with pytest.raises(ValueError, match="there are orders 1, 2, got 3"):
        inter(CONFIG, order=3, root=root)

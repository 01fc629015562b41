"""Whose a folder is: the rule that every command with an ``--out`` keeps."""

import json

import pytest

from cluster import storage
from cluster.claims import claim, json_differences, refuse_others

MINE = {"version": 2, "config": {"seed": 0, "scale": {"workers": 1}, "sizes": [1, 2]}}


def test_the_first_takes_a_folder_and_the_same_goes_on(tmp_path):
    out = str(tmp_path / "run")
    assert not claim(out, MINE)
    assert storage.read_json(f"{out}/config.json") == MINE
    (tmp_path / "run" / "more").touch()
    assert claim(out, MINE)


def test_what_may_change_is_written_anew(tmp_path):
    out, other = str(tmp_path), {**MINE, "config": {**MINE["config"], "scale": {"workers": 8}}}
    claim(out, MINE)
    with pytest.raises(ValueError, match=r"other settings \(config\.scale\.workers: 1 -> 8\)"):
        claim(out, other)
    assert claim(out, other, may_change=("config.scale",))
    assert storage.read_json(f"{out}/config.json") == other


def test_checking_alone_writes_nothing(tmp_path):
    assert not refuse_others(str(tmp_path / "run"), MINE)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("theirs", [{}, {**MINE, "version": 1}, {**MINE, "more": 1}, {"version": 2}])
def test_other_settings_are_refused_and_stay(tmp_path, theirs):
    (tmp_path / "config.json").write_text(json.dumps(theirs), encoding="utf-8")
    with pytest.raises(ValueError, match=r"belongs to a sweep with other settings .*go on with the same options, or"):
        claim(str(tmp_path), MINE, what="sweep")
    assert storage.read_json(str(tmp_path / "config.json")) == theirs


def test_other_people_s_files_are_refused_but_for_those_that_may_lie_beside(tmp_path):
    (tmp_path / "plan.json").touch()
    with pytest.raises(ValueError, match=r"holds other files and no config\.json of a run; give an empty --out"):
        claim(str(tmp_path), MINE)
    assert not claim(str(tmp_path), MINE, beside=("plan.json",))
    (tmp_path / "config.json").unlink()
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ValueError, match="holds other files"):
        claim(str(tmp_path), MINE, beside=("plan.json",))


def test_differences_are_named_by_their_path_and_stay_short():
    other = {"version": 2, "config": {"seed": 1, "scale": {"workers": 1}, "sizes": list(range(100))}, "new": None}
    found = json_differences(MINE, {**other, "clips": "x"})
    assert found[0] == "config.seed: 0 -> 1"
    assert found[1].startswith("config.sizes: [1, 2] -> [0, 1, 2")
    assert found[1].endswith("...")
    assert found[2:] == ["clips: None -> x"], "what is absent is null"
    assert max(map(len, found)) < 100
    assert json_differences(MINE, MINE) == []

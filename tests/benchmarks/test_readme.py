"""The tables of ``benchmarks/README.md`` are those of ``benchmarks/results``."""

import pytest

from benchmarks import results_file, tables
from cluster.errors import InputError

NAMES = sorted(path.stem for path in results_file.FOLDER.glob("*.json"))


def test_the_readme_has_what_is_generated():
    text = tables.README.read_text(encoding="utf-8")
    assert tables.fill(text) == text, "run python -m benchmarks.tables"


def test_every_result_has_a_table_and_a_number_that_changes_changes_it():
    text = tables.README.read_text(encoding="utf-8")
    assert sorted(tables.BLOCK.findall(text)) == NAMES
    assert tables.fill(text.replace("51.3 ± 5.6", "91.3 ± 5.6")) == text
    with pytest.raises(InputError, match=r"has tables .* and .* has results"):
        tables.fill(text.replace("<!-- table recipes -->", ""))


@pytest.mark.parametrize("name", NAMES)
def test_every_result_is_an_envelope_that_says_where_it_comes_from(name):
    content = results_file.read(results_file.location_of(name))
    parts = content["rows"].values() if content["kind"] == "speed" else [content]
    for part in parts:
        assert part["provenance"] is not None or part["note"] == results_file.UNKNOWN
    if content["kind"] == "study":
        assert list(content["results"]) == list(content["arms"])
        assert {seed for by_seed in content["results"].values() for seed in by_seed} == set(map(str, content["seeds"]))


def test_other_files_and_newer_versions_are_refused(tmp_path):
    location = str(tmp_path / "x.json")
    results_file.write(location, {"version": 2})
    with pytest.raises(InputError, match="has version 2, and this program reads up to 1; update it"):
        results_file.read(location)
    results_file.write(location, {"format": "another"})
    with pytest.raises(InputError, match="is no result of a benchmark"):
        results_file.read(location)

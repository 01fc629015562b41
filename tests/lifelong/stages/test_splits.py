"""Tasks of identities: the published sizes, and that each identity is in one task."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifelong.stages.splits import cut, parse_part, part_name, take_part

SETS = st.sets(st.integers(1, 5000), min_size=1, max_size=60)


def test_market1501_has_the_published_sizes_in_order_of_number():
    identities = [2 * number for number in range(1, 752)]
    tasks = cut(identities[::-1], 10, rule="ascending")
    assert [len(task) for task in tasks] == [76] + [75] * 9
    assert [identity for task in tasks for identity in task] == identities


@given(identities=SETS, tasks=st.integers(1, 60), seed=st.integers(0, 3), shuffled=st.booleans())
def test_tasks_are_the_loop_disjoint_and_cover_everything(identities, tasks, seed, shuffled):
    tasks = min(tasks, len(identities))
    rule = "shuffled" if shuffled else "ascending"
    found = cut(list(identities), tasks, rule=rule, seed=seed)
    assert sorted(identity for task in found for identity in task) == sorted(identities)
    count, rest = divmod(len(identities), tasks)
    assert [len(task) for task in found] == [count + (number < rest) for number in range(tasks)]
    assert found == cut(sorted(identities), tasks, rule=rule, seed=seed)
    parts = [part_name(number, tasks, rule=rule, seed=seed) for number in range(1, tasks + 1)]
    assert [take_part(list(identities), part) for part in parts] == found


def test_the_seed_shuffles():
    first, second = (cut(range(1, 41), 4, rule="shuffled", seed=seed) for seed in (0, 1))
    assert first != second
    assert first != cut(range(1, 41), 4, rule="ascending")


@pytest.mark.parametrize("tasks", [0, 4])
def test_tasks_without_identities_are_refused(tasks):
    with pytest.raises(ValueError, match=f"3 identities cannot be cut into {tasks} tasks; give 1 to 3 tasks"):
        cut([1, 2, 3], tasks, rule="ascending")


@pytest.mark.parametrize("part", ["0/3", "4/3", "3", "1/3@", "1/3@-1", "one/3", "1/3 "])
def test_names_of_no_task_are_refused(part):
    with pytest.raises(ValueError, match="part must be such as 3/10"):
        parse_part(part)

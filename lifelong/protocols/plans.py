"""The two benchmarks as plans: tasks of one dataset (intra), and one dataset after the other (inter).

The inter-domain benchmark, its two orders and its unseen sets are those of AKA (Pu et al., CVPR 2021) and DKP: the
first 500 identities of each domain by number, of CUHK-SYSU among those with at least four images
(``cuhk-sysu-lreid``), of CUHK03 the detected boxes of the 767 / 700 protocol, as AKA's loader takes them. Sets with
several partitions give their first one. DukeMTMC-reID was withdrawn by its authors; who has no lawful copy names
another domain in its place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cluster import storage
from cluster.errors import InputError
from lifelong.stages.config import StageConfig
from lifelong.stages.plan import LifelongPlan, absolute, make_stages, named
from lifelong.stages.splits import Rule, part_name
from pretrain.models.initial import model_config_of

IDENTITIES = 500
"""Of each domain, by AKA's rule."""


@dataclass(frozen=True, slots=True)
class Place:
    """A benchmark, and the folders below a root in which torchreid's and AKA's loaders, or people, keep it."""

    benchmark: str
    folders: tuple[str, ...]

    def find(self, root: str) -> str:
        """Return its spec; empty if there is none of the folders."""
        places = [storage.join(root, folder) for folder in self.folders]
        found = next((place for place in places if storage.is_folder(place)), "")
        return f"{self.benchmark}:{found}" if found else ""


SEEN = {
    "market1501": Place("market1501", ("market1501/Market-1501-v15.09.15", "Market-1501-v15.09.15", "market1501")),
    "cuhk-sysu": Place("cuhk-sysu-lreid", ("cuhksysu4reid", "cuhksysu/cuhksysu4reid", "cuhksysu", "cuhk-sysu")),
    "dukemtmc": Place("dukemtmc-reid", ("dukemtmc-reid/DukeMTMC-reID", "DukeMTMC-reID", "dukemtmc-reid", "dukemtmc")),
    "msmt17": Place("msmt17", ("msmt17/MSMT17_V1", "msmt17/MSMT17_V2", "MSMT17_V1", "MSMT17_V2", "MSMT17", "msmt17")),
    "cuhk03": Place("cuhk03-np-detected", ("cuhk03-np", "CUHK03-NP", "cuhk03", "CUHK03")),
}
UNSEEN = {
    "viper": Place("viper", ("viper", "VIPeR")),
    "i-lids": Place("ilids", ("ilids", "i-lids", "i-LIDS")),
    "prid": Place("prid2011", ("prid2011", "prid", "PRID2011")),
    "grid": Place("grid", ("grid", "GRID")),
    "sensereid": Place("sensereid", ("sensereid", "SenseReID")),
    "cuhk01": Place("cuhk01", ("cuhk01", "CUHK01")),
    "cuhk02": Place("cuhk02", ("cuhk02", "CUHK02")),
}
ORDERS = {
    1: ("market1501", "cuhk-sysu", "dukemtmc", "msmt17", "cuhk03"),
    2: ("dukemtmc", "msmt17", "market1501", "cuhk-sysu", "cuhk03"),
}


def intra(
    dataset: str,
    tasks: int,
    config: StageConfig,
    *,
    rule: Rule | None = None,
    seed: int = 0,
    start: str = "",
    any_counts: bool = False,
) -> LifelongPlan:
    """Make the plan of tasks within one dataset.

    Args:
        dataset: Its spec.
        tasks: How many.
        config: How each is learned.
        rule: How identities are cut, see `lifelong.stages.splits`; unless given, ``ascending`` for Market-1501 and
            ``shuffled`` for all others.
        seed: Of the shuffling.
        start: Where the first weights are; empty for random ones. A model directory says its own architecture.
        any_counts: Whether an incomplete copy will do.

    Raises:
        InputError: If there are no tasks, or the dataset has no usable name.
    """
    config = _starting_from(start, config)
    (whole,) = make_stages((dataset,), config, any_counts=any_counts)
    rule = rule or ("ascending" if whole.dataset.startswith("market1501:") else "shuffled")
    width = max(2, len(str(tasks)))
    stages = tuple(
        replace(whole, name=f"task{number:0{width}d}", part=part_name(number, tasks, rule=rule, seed=seed))
        for number in range(1, tasks + 1)
    )
    return LifelongPlan(start=start, stages=stages)


def inter(
    config: StageConfig,
    *,
    order: int = 0,
    root: str = "",
    domains: Sequence[str] = (),
    unseen: Sequence[str] = (),
    identities: int = IDENTITIES,
    start: str = "",
    any_counts: bool = False,
) -> tuple[LifelongPlan, tuple[str, ...]]:
    """Make the plan of one domain after the other.

    Args:
        config: How each is learned.
        order: 1 or 2 are the published ones; 0 is that of ``domains``.
        root: Folder that holds the datasets, see `SEEN` and `UNSEEN`.
        domains: Specs, best ``LABEL=SPEC``. With an order, each takes the place of the domain of its label.
        unseen: Sets never trained on, as specs; each takes the place of that of its label, or is one more.
        identities: First by number, of each domain; 0 takes all.
        start: Where the first weights are; empty for random ones. A model directory says its own architecture.
        any_counts: Whether incomplete copies will do.

    Returns:
        The plan, and the labels of the unseen sets of the benchmark that are not below the root.

    Raises:
        InputError: If a domain is not to be found, or a label is not of the order.
    """
    config = _starting_from(start, config)
    specs = _seen(order, root, domains) if order else tuple(domains)
    if len(specs) < 2:
        raise InputError("name --order 1 or 2 with --root DIR, or at least two --domain LABEL=SPEC in their order")
    stages = make_stages(specs, config, identities=identities, any_counts=any_counts)
    tested = {label: place.find(root) if root else "" for label, place in UNSEEN.items()}
    tested |= {name: absolute(spec) for name, spec in map(named, unseen)}
    missing = tuple(label for label, spec in tested.items() if not spec)
    kept = tuple(f"{label}={spec}" for label, spec in tested.items() if spec)
    return LifelongPlan(start=start, stages=stages, unseen=kept), missing


def _seen(order: int, root: str, domains: Sequence[str]) -> tuple[str, ...]:
    if order not in ORDERS:
        raise InputError(f"there are orders {', '.join(map(str, ORDERS))}, got {order}")
    given: Mapping[str, str] = dict(map(named, domains))
    unknown = [label for label in given if label not in ORDERS[order]]
    if unknown:
        raise InputError(f"order {order} has no domain {unknown[0]!r}; it has {', '.join(ORDERS[order])}")
    specs = {label: given.get(label) or (SEEN[label].find(root) if root else "") for label in ORDERS[order]}
    missing = [label for label, spec in specs.items() if not spec]
    if missing:
        looked = ", ".join(folder for label in missing[:1] for folder in SEEN[label].folders)
        withdrawn = " (DukeMTMC-reID was withdrawn by its authors; another domain may stand in its place)"
        raise InputError(
            f"no {', '.join(missing)} below {root or '--root, which is not given'} (looked for {looked}); give "
            f"--domain {missing[0]}=SPEC{withdrawn if 'dukemtmc' in missing else ''}"
        )
    return tuple(f"{label}={spec}" for label, spec in specs.items())


def _starting_from(start: str, config: StageConfig) -> StageConfig:
    return replace(config, model=model_config_of(start, config.model)) if start else config

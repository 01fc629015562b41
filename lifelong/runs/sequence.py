"""All stages of a run in order, the gallery that grows with them and is never extracted again, and the scores."""

from dataclasses import replace
from typing import Any

import numpy as np

from cluster import storage
from cluster.console import console
from cluster.errors import InputError
from evaluation.compatibility.results import to_json
from lifelong.gallery.gallery import Gallery
from lifelong.memory.store import read_exemplars
from lifelong.runs.files import model_folder, read_done, stage_folder
from lifelong.runs.local import Backend
from lifelong.runs.measure import extract, match, measure, stored_gallery
from lifelong.runs.stage import MEMORY, run_stage
from lifelong.stages.plan import LifelongPlan, plan_from_json, plan_to_json, refuse_other_past
from pretrain.models.directory import model_card, write_model
from pretrain.models.initial import read_initial

IDENTITIES = 1_000_000
"""More than any dataset has."""


def run_sequence(plan: LifelongPlan, out: str, backend: Backend, *, evaluate: bool = True) -> dict[str, Any]:
    """Run or resume the stages of a plan.

    Args:
        plan: The whole run. Stages that are finished stay as they are; new ones may stand at its end.
        out: Location of the run.
        backend: Where stages are trained and images embedded.
        evaluate: Whether galleries are extracted and scored.

    Returns:
        The content of ``results.json``, or nothing without evaluation.

    Raises:
        InputError: If the location holds another run, a dataset cannot be read, or the memory has changed.
    """
    _claim(plan, out)
    _write_start(plan, out)
    result: dict[str, Any] = {}
    for number, stage in enumerate(plan.stages, 1):
        is_new = read_done(stage_folder(out, plan, number)) is None
        run_stage(out, plan, number, backend)
        check_memory(out, plan, number)
        if evaluate:
            extract(out, plan, number, backend)
            match(out, plan, number, backend)
            _store(out, plan, number)
            if not is_new and number < len(plan.stages):
                continue  # scored when it was new, and again with all stages after it
            scores = measure(out, plan, upto=number)
            last = scores.stages[-1]
            console.print(
                f"stage {number}, {stage.name}: mAP without re-extraction {100 * last.bc.mAP:.1f} %, "
                f"re-extracted {100 * last.reindex.mAP:.1f} %, no update {100 * last.old.mAP:.1f} %",
                markup=False,
            )
            result = to_json(scores)
    return result


def _claim(plan: LifelongPlan, out: str) -> None:
    location = storage.join(out, "plan.json")
    if storage.exists(location):
        refuse_other_past(plan_from_json(storage.read_json(location)), plan)
    elif storage.list_files(out):
        raise InputError(f"{out} holds other files and no plan.json of a run; give an empty --out")
    for stage in plan.stages:
        stage.rows()  # what cannot be read is found before anything is trained
    storage.write_json(location, plan_to_json(plan))


def _write_start(plan: LifelongPlan, out: str) -> None:
    """Write the first weights as a model directory."""
    location = model_folder(out, plan, 0)
    if storage.exists(storage.join(location, "config.json")):
        return
    config = plan.stages[0].config
    tensors, model = read_initial(plan.start, config.model, seed=config.seed)
    if model != config.model:
        raise InputError(
            f"{plan.start} is {model} and the stages are configured for {config.model}; give the same --model options"
        )
    card = model_card(title="first weights", config=model, facts=[("from", plan.start or "random")], trained="")
    plain = {name: tensor.contiguous() for name, tensor in tensors.items()}
    write_model(plain, model, location, recipe="start", step=0, card=card)


def _store(out: str, plan: LifelongPlan, number: int) -> None:
    """Add the gallery of a stage to what is searched, once; models of a run are declared as they come.

    Declaring says that the run was made to be searched like this. Whether it can be is what `promote` judges.
    Datasets number their people from 1 each; in the gallery, those of stage k are ``k * IDENTITIES + identity``.
    """
    location = storage.join(out, "gallery")
    done = read_done(stage_folder(out, plan, number))
    assert done is not None
    fingerprint, name = done["model_fingerprint"], plan.stages[number - 1].name
    features = stored_gallery(out, plan, number)
    if number == 1 and not Gallery.exists(location):
        Gallery.create(location, size=features.feature.shape[1], model_fingerprint=fingerprint)
    gallery = Gallery.open(location)
    gallery.declare(fingerprint, note=f"stage {number}, {name}")
    identity = np.where(features.identity > 0, features.identity + number * IDENTITIES, features.identity)
    gallery.add(replace(features, identity=identity), source=name)


def check_memory(out: str, plan: LifelongPlan, upto: int) -> None:
    """Check that what finished stages keep is what they wrote, byte by byte.

    Raises:
        InputError: If a memory has changed.
    """
    for number in range(1, upto + 1):
        folder = stage_folder(out, plan, number)
        done = read_done(folder)
        if done and done["memory_sha256"]:
            read_exemplars(storage.join(folder, MEMORY), sha256=done["memory_sha256"])

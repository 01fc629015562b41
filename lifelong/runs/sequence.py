"""All stages of a run in order: claim, train, embed, store, score."""

from dataclasses import replace
from typing import Any

from cluster import storage
from cluster.console import console
from cluster.errors import InputError
from evaluation.compatibility.results import to_json
from evaluation.features.apart import apart
from evaluation.features.parquet import read_parquet
from lifelong.gallery.gallery import Gallery
from lifelong.memory.store import read_exemplars
from lifelong.runs.backend import Backend
from lifelong.runs.embed import embed
from lifelong.runs.measure import match, measure
from lifelong.runs.run import Run, StageFolder, claim_run
from lifelong.runs.train_stage import train_stage
from lifelong.stages.plan import LifelongPlan
from pretrain.models.directory import model_card, write_model
from pretrain.models.initial import read_initial


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
    run = claim_run(plan, out)
    write_start(run)
    result: dict[str, Any] = {}
    for stage in run.stages:
        is_new = stage.done is None
        train_stage(stage, backend)
        check_memory(run, upto=stage.number)
        if evaluate:
            embed(stage, backend)
            store(stage)
            match(stage, backend)
            if is_new or stage is run.stages[-1]:  # an older one was scored when it was new
                result = score(stage)
    return result


def write_start(run: Run) -> None:
    """Write the first weights as a model directory, once."""
    location = run.model(0)
    if storage.exists(storage.join(location, "config.json")):
        return
    start, config = run.plan.start, run.stage(1).config
    tensors, model = read_initial(start, config.model, seed=config.seed)
    if model != config.model:
        raise InputError(
            f"{start} is {model} and the stages are configured for {config.model}; give the same --model options"
        )
    card = model_card(title="first weights", config=model, facts=[("from", start or "random")], trained="")
    plain = {name: tensor.contiguous() for name, tensor in tensors.items()}
    write_model(plain, model, location, recipe="start", step=0, card=card)


def check_memory(run: Run, *, upto: int) -> None:
    """Check that what finished stages keep is what they wrote, byte by byte.

    Raises:
        InputError: If a memory has changed.
    """
    for stage in run.stages[:upto]:
        done = stage.done
        if done and done["memory_sha256"]:
            read_exemplars(stage.memory, sha256=done["memory_sha256"])


def store(stage: StageFolder) -> None:
    """Add the gallery of a stage to what is searched, once; models of a run are declared as they come.

    Declaring says that the run was made to be searched like this. Whether it can be is what `promote` judges.
    """
    location = stage.run.file("gallery")
    features = read_parquet(stage.run.features(stage.name, stage.number)).select("gallery")
    if stage.number == 1 and not Gallery.exists(location):
        Gallery.create(location, size=features.feature.shape[1], model_fingerprint=stage.fingerprint)
    gallery = Gallery.open(location)
    gallery.declare(stage.fingerprint, note=f"stage {stage.number}, {stage.name}")
    gallery.add(replace(features, identity=apart(features.identity, stage.number)), source=stage.name)


def score(stage: StageFolder) -> dict[str, Any]:
    """Score the run up to a stage, write the results, and say them in a line."""
    scores = measure(stage.run, upto=stage.number)
    last = scores.stages[-1]
    console.print(
        f"stage {stage.number}, {stage.name}: mAP stored {100 * last.stored.mAP:.1f} %, "
        f"re-extracted {100 * last.re_extracted.mAP:.1f} %, no update {100 * last.no_update.mAP:.1f} %",
        markup=False,
    )
    return to_json(scores)

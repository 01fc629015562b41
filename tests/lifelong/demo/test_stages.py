"""The demo's stages: three styles, two methods that share a beginning. The whole is what `.ci/run` runs, small."""

from dataclasses import replace

import pytest

from lifelong.demo.report import METHODS
from lifelong.demo.stages import STYLES, domain_of, plan_of, stage_of
from pretrain.demo.chain import DemoConfig, run_of, street_of
from pretrain.recipes import isr_tiny


@pytest.mark.parametrize("size", ["full", "quick"])
def test_methods_share_the_first_stage_and_differ_in_loss_and_memory(size):
    config = DemoConfig(size=size, seed=3)
    fine, full = (plan_of(config, "/out", method) for method in ("finetune", "lreid-bc"))
    assert [stage.name for stage in fine.stages] == ["style0", "style1", "style2"]
    assert fine.stages[0] == full.stages[0]
    assert fine.start == full.start == "/out/models/isr"
    for one, other in zip(fine.stages[1:], full.stages[1:], strict=True):
        same = replace(one.config, recipe=other.config.recipe, loss=other.config.loss, memory=other.config.memory)
        assert same == other.config
        assert one.config != other.config
    assert set(METHODS) == {"finetune", "lreid-bc"}


@pytest.mark.parametrize("size", ["full", "quick"])
def test_the_stages_take_the_backbone_that_isr_made(size):
    config = DemoConfig(size=size)
    assert stage_of(config, "lreid-bc").model == run_of(config, isr_tiny()).model


def test_the_domains_show_other_people_than_the_street_that_was_filmed():
    config = DemoConfig(seed=4)
    domains = [domain_of(config, style) for style in STYLES]
    assert len({domain.style for domain in domains}) == 3
    assert {domain.seed for domain in domains}.isdisjoint({street_of(config).seed})
    assert domain_of(replace(config, seed=5), 0).seed != domains[0].seed

"""Recipes are values: each can be made, saved, and found."""

from dataclasses import replace

import pytest

from cluster.values import fingerprint, from_json, to_json
from pretrain.config.run import PretrainConfig
from pretrain.recipes import RECIPES, changes, find_recipe, infonce_tiny, isr_tiny


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_a_saved_value_that_says_how_to_run_it(name: str):
    recipe = find_recipe(name)
    config = recipe()
    assert config.recipe == name
    assert recipe.__doc__
    assert from_json(PretrainConfig, to_json(config)) == config
    assert config == recipe(), "made twice, the same"


def test_recipes_differ():
    assert len({fingerprint(recipe()) for recipe in RECIPES.values()}) == len(RECIPES)


def test_the_baseline_differs_by_its_loss_alone():
    isr, baseline = to_json(isr_tiny()), to_json(infonce_tiny())
    assert {name for name in isr if isr[name] != baseline[name]} == {"recipe", "loss"}
    assert {name for name in isr["loss"] if isr["loss"][name] != baseline["loss"][name]} == {"beta"}
    assert baseline["loss"]["beta"] == 0


def test_an_unknown_recipe_gets_a_suggestion():
    with pytest.raises(
        ValueError, match=r"unknown recipe 'isr-tinny'; perhaps you meant isr-tiny; recipes: isr-tiny, isr-r"
    ):
        find_recipe("isr-tinny")
    with pytest.raises(ValueError, match=r"unknown recipe 'zzz'; recipes: isr-tiny"):
        find_recipe("zzz")


def test_what_a_run_changes_of_its_recipe_is_told_and_nothing_else():
    assert changes(isr_tiny()) == []
    changed = replace(isr_tiny(), seed=3, loss=replace(isr_tiny().loss, temperature=0.2))
    assert changes(changed) == ["seed: 0 -> 3", "loss.temperature: 0.1 -> 0.2"]
    assert changes(replace(changed, recipe="my-own")) == [], "there is nothing to compare with"

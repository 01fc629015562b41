"""Any order of commands leaves a gallery that equals a plain dictionary of items."""

import tempfile
from dataclasses import replace

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from evaluation.metrics.distances import unit_rows
from lifelong.gallery.gallery import Gallery
from tests.lifelong.gallery.rows import make_gallery, make_rows


class GalleryMachine(RuleBasedStateMachine):
    """Compares a gallery with ``{item: (unit feature, identity, model)}``."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.gallery = make_gallery(f"{self.folder.name}/g")
        self.gallery.declare("b")
        self.items, self.next_item, self.seed = {}, 0, 0

    def teardown(self):
        self.folder.cleanup()

    @rule(count=st.integers(1, 12), model=st.sampled_from("ab"), num_junk=st.integers(0, 2))
    def add(self, count, model, num_junk):
        self.seed += 1
        rows = make_rows(self.seed, count, model=model, identities=5)
        identity = rows.identity.copy()
        identity[: min(num_junk, count - 1)] = -1
        rows = replace(rows, identity=identity)
        result = self.gallery.add(rows)
        assert result.first_item == self.next_item
        for feature, who in zip(unit_rows(rows.feature), identity, strict=True):
            if who >= 0:
                self.items[self.next_item] = (feature, int(who), model)
                self.next_item += 1
        assert self.gallery.add(rows).is_repeat

    @precondition(lambda self: self.items)
    @rule(data=st.data())
    def delete(self, data):
        identity = data.draw(st.sampled_from(sorted({who for _, who, _ in self.items.values()})))
        kept = {item: facts for item, facts in self.items.items() if facts[1] != identity}
        assert self.gallery.delete(identity) == len(self.items) - len(kept)
        self.items = kept

    @rule()
    def compact(self):
        self.gallery.compact()
        assert self.gallery.manifest.num_rows == len(self.items)

    @rule()
    def reopen(self):
        self.gallery = Gallery.open(self.gallery.location)

    @precondition(lambda self: self.items)
    @rule(seed=st.integers(0, 99), k=st.integers(1, 8))
    def search(self, seed, k):
        query = make_rows(1000 + seed, 2).feature
        hits = self.gallery.search(query, k, model_fingerprint="b")
        item = np.array(list(self.items))
        cosine = unit_rows(query) @ np.stack([feature for feature, _, _ in self.items.values()]).T
        order = np.argsort(-cosine, axis=1)[:, :k]
        np.testing.assert_array_equal(hits.item, item[order])
        np.testing.assert_array_equal(hits.identity, [[self.items[i][1] for i in row] for row in hits.item])

    @invariant()
    def holds_what_it_should(self):
        stats = self.gallery.verify()
        models = [model for _, _, model in self.items.values()]
        assert stats.models == {"a": models.count("a"), "b": models.count("b")}
        assert stats.identities == len({who for _, who, _ in self.items.values()})
        if self.items:
            found = self.gallery.features()
            np.testing.assert_array_equal(found.feature, [feature for feature, _, _ in self.items.values()])
            np.testing.assert_array_equal(found.identity, [who for _, who, _ in self.items.values()])


TestGallery = GalleryMachine.TestCase
TestGallery.settings = settings(max_examples=12, stateful_step_count=12, suppress_health_check=[HealthCheck.too_slow])

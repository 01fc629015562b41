"""A gallery of features that are stored once and searched for years, with whichever declared model comes next.

Below its location, a local folder or an ``s3://`` URL::

    manifests/000000000012.json   what there is; the newest counts (`journal`)
    shards/NAME.parquet           features, written once (`shards`)
    index/                        a cache that can be made again at any time (`index`); of a URL it is kept locally

Adding writes shards first and names them in a manifest last, so that what is acknowledged is there for good and what
is not named does not exist. Deleting takes effect with the next search; compaction removes the bytes. An identity that
is added after it was deleted is there again: a deletion is about what is stored, not a ban on a number.
"""

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cluster import storage
from cluster.errors import InputError
from evaluation.features.table import Features, concatenate
from lifelong.gallery import journal, shards
from lifelong.gallery.adding import AddResult, add
from lifelong.gallery.compaction import ORPHAN_SECONDS, Compaction, compact
from lifelong.gallery.index import forget_replaced
from lifelong.gallery.manifest import Manifest, Tombstone, now, with_model
from lifelong.gallery.search import FACTS, Hits
from lifelong.gallery.searcher import Kind, Searcher
from lifelong.gallery.verification import Stats, check, measure


class Gallery:
    """One gallery. Every method reads the newest manifest, so several processes may use it at once.

    >>> import evaluation, lifelong
    >>> features = evaluation.read_features(f"{folder}/features.parquet")
    >>> gallery = lifelong.Gallery.create(f"{folder}/gallery", size=8, model_fingerprint="first")
    >>> gallery.add(features.select("gallery")).added
    2
    >>> gallery.declare("second", note="promoted")  # queries of the next model find what the first one stored
    >>> hits = gallery.search(features.select("query").feature, k=1, model_fingerprint="second")
    >>> hits.item.shape
    (2, 1)
    """

    def __init__(self, location: str, size: int, cache: str) -> None:
        self.location, self.size = location, size
        self._searcher = Searcher(location, cache)
        self._cache = cache

    @classmethod
    def create(cls, location: str, *, size: int, model_fingerprint: str, note: str = "", cache: str = "") -> "Gallery":
        """Begin a gallery.

        Args:
            location: Its folder or URL.
            size: Components of a feature.
            model_fingerprint: The first model.
            note: What is to be known of it.
            cache: See `open`.

        Raises:
            InputError: If there is one, or other files, or an argument is unusable.
        """
        location = storage.resolve(location)
        if size < 1:
            raise InputError(f"the size of a feature must be >= 1, got {size}")
        if not cls.exists(location) and storage.list_files(location):
            raise InputError(f"{location} holds other files and no gallery; give an empty DIR")
        first = with_model(journal.blank(size), model_fingerprint, note)
        journal.create_first(location, first)
        return cls.open(location, cache=cache)

    @classmethod
    def open(cls, location: str, *, cache: str = "") -> "Gallery":
        """Open a gallery.

        Args:
            location: Its folder or URL.
            cache: Local folder of the index; inside a local gallery, or below ``~/.cache``, unless given.

        Raises:
            InputError: If there is none.
        """
        location = storage.resolve(location)
        return cls(location, journal.read_newest(location).size, storage.resolve(cache or _cache_of(location)))

    @staticmethod
    def exists(location: str) -> bool:
        """Whether there is a gallery."""
        return bool(journal.numbers(storage.resolve(location)))

    @property
    def manifest(self) -> Manifest:
        """The newest manifest."""
        return journal.read_newest(self.location)

    def declare(self, model_fingerprint: str, *, note: str = "") -> None:
        """Declare a model compatible with all that is stored, normally after it was promoted.

        Raises:
            InputError: If the fingerprint says nothing.
        """
        journal.change(self.location, lambda manifest: with_model(manifest, model_fingerprint, note))

    def add(self, features: Features, *, source: str = "", again: bool = False) -> AddResult:
        """Store features of declared models, scaled to norm 1. When it returns, they survive a loss of power.

        The same rows in the same order are stored once, so that a job may be retried.

        Args:
            features: Rows of any split.
            source: Where they come from.
            again: Whether to store the same rows once more.

        Raises:
            InputError: If a model is not declared, the size differs, a feature is zero, or all images are junk.
        """
        return add(self.location, features, source=source, again=again)

    def delete(self, identity: int, *, reason: str = "") -> int:
        """Take a person out of all searches, at once; `compact` removes the bytes.

        Returns:
            How many images.

        Raises:
            InputError: If nobody has that identity.
        """
        count = 0

        def bury(manifest: Manifest) -> Manifest:
            nonlocal count
            items = self._items_of(identity, manifest)
            if not items:
                raise InputError(f"{self.location} has no images of identity {identity}; nothing was deleted")
            count = len(items)
            stone = Tombstone(identity=identity, items=items, deleted=now(), reason=reason)
            return replace(manifest, tombstones=(*manifest.tombstones, stone))

        journal.change(self.location, bury)
        return count

    def _items_of(self, identity: int, manifest: Manifest) -> tuple[int, ...]:
        found: list[int] = []
        options = {"size": self.size, "without": manifest.deleted_items()}
        for shard in manifest.shards:
            for batch in shards.read_blocks(self.location, shard, ["identity"], **options):
                found += batch["item"].to_numpy()[batch["identity"].to_numpy() == identity].tolist()
        return tuple(found)

    def compact(self, *, orphan_seconds: float = ORPHAN_SECONDS) -> Compaction:
        """Remove what is deleted from the disk (see `lifelong.gallery.compaction`), and the index that held it."""
        done = compact(self.location, orphan_seconds=orphan_seconds)
        forget_replaced(self._cache, self.manifest)
        return done

    def verify(self) -> Stats:
        """Check every byte against the manifest, and count.

        Raises:
            InputError: If something is wrong; names all of it.
        """

        def count(manifest: Manifest) -> Stats:
            check(self.location, manifest)
            return measure(self.location, manifest)

        return journal.with_newest(self.location, count)

    def stats(self) -> Stats:
        """Count."""
        return journal.with_newest(self.location, lambda manifest: measure(self.location, manifest))

    def search(
        self, query_QD: NDArray[np.float32], k: int, *, model_fingerprint: str, kind: Kind | None = None
    ) -> Hits:
        """Find the most similar items of each query, of whichever model.

        Args:
            query_QD: Features of any norm but 0.
            k: >= 1; a smaller gallery gives fewer.
            model_fingerprint: Which model made the queries; it must be declared.
            kind: See `lifelong.gallery.searcher.Kind`.

        Raises:
            InputError: If the model is not declared, or the queries or k are unusable.
        """
        return self._searcher.search(query_QD, k, model_fingerprint=model_fingerprint, kind=kind)

    def features(self, model_fingerprint: str | None = None) -> Features:
        """Read all items, or those of one model, as split ``gallery``.

        Raises:
            InputError: If there are none.
        """
        return journal.with_newest(self.location, lambda manifest: self._features(manifest, model_fingerprint))

    def _features(self, manifest: Manifest, model_fingerprint: str | None) -> Features:
        options = {"size": self.size, "without": manifest.deleted_items()}
        parts = []
        for shard in manifest.shards:
            if model_fingerprint in (None, *shard.models):
                for batch in shards.read_blocks(self.location, shard, ["feature", *FACTS], **options):
                    if model_fingerprint is not None:
                        is_wanted = batch["model_fingerprint"].to_numpy(zero_copy_only=False) == model_fingerprint
                        batch = batch.filter(pa.array(is_wanted))
                    parts += shards.features_of(batch, self.size)
        if not parts:
            of_model = "" if model_fingerprint is None else f" of model {model_fingerprint}"
            raise InputError(f"{self.location} holds no images{of_model}; it has {', '.join(manifest.fingerprints)}")
        return concatenate(parts)


def _cache_of(location: str) -> str:
    """Return where the index of a gallery is kept."""
    if not storage.is_remote(location):
        return storage.join(location, "index")
    name = hashlib.sha256(location.encode()).hexdigest()[:16]
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return str(Path(root) / "perennial-reid" / "galleries" / name)

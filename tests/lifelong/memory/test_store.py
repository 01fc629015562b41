"""The memory's files: a round trip to the last bit, changes found, nothing rewritten, and what is refused."""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lifelong.memory.store import Exemplars, concatenate, read_exemplars, read_memory, write_exemplars


def make_exemplars(stage=1, *, size=4, count=6):
    rng = np.random.default_rng(stage)
    feature = rng.normal(size=(count, size)).astype(np.float32)
    return Exemplars(
        image=np.array([rng.bytes(5 + row) + b"\0\xff\r\n" for row in range(count)], object),
        path=np.array([f"/data/ä {row}.jpg" for row in range(count)], object),
        identity=1 + np.arange(count) // 2,
        label=100 * stage + np.arange(count) // 2,
        stage=np.full(count, stage),
        feature=feature / np.linalg.norm(feature, axis=1, keepdims=True),
        model_fingerprint=np.full(count, f"model-{stage}", object),
    )


def assert_equal(one, other):
    for field in dataclasses.fields(Exemplars):
        left, right = getattr(one, field.name), getattr(other, field.name)
        assert left.dtype == right.dtype
        assert left.shape == right.shape
        assert left.tobytes() == right.tobytes() if left.dtype != object else left.tolist() == right.tolist()


@pytest.fixture
def location(tmp_path):
    return str(tmp_path / "memory" / "stage-1.parquet")


def test_round_trip_is_exact(location):
    written = make_exemplars()
    written.feature[0] = [1, -0.0, np.finfo(np.float32).tiny / 8, 1e-30]  # a negative zero, and a denormal
    digest = write_exemplars(location, written)
    read = read_exemplars(location, sha256=digest)
    assert_equal(read, written)
    assert_equal(read_exemplars(location), written)
    assert all(getattr(read, field.name).flags.writeable for field in dataclasses.fields(Exemplars))
    assert len(read) == 6
    assert all(type(image) is bytes for image in read.image)


def test_same_input_is_the_same_bytes_and_writing_again_does_no_harm(tmp_path):
    one, other = (str(tmp_path / name) for name in ("one.parquet", "other.parquet"))
    digests = {write_exemplars(one, make_exemplars()), write_exemplars(other, make_exemplars())}
    assert Path(one).read_bytes() == Path(other).read_bytes()
    assert digests == {hashlib.sha256(Path(one).read_bytes()).hexdigest()}
    before = Path(one).stat().st_mtime_ns
    assert {write_exemplars(one, make_exemplars())} == digests
    assert Path(one).stat().st_mtime_ns == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.parquet", "other.parquet"]


def test_another_content_is_never_written_over(location):
    write_exemplars(location, make_exemplars())
    before = Path(location).read_bytes()
    with pytest.raises(ValueError, match=r"stage-1.parquet is there with another content; .* never rewritten"):
        write_exemplars(location, make_exemplars(2))
    assert Path(location).read_bytes() == before


def test_a_flipped_bit_anywhere_is_found_by_the_hash(location):
    digest = write_exemplars(location, make_exemplars())
    data = bytearray(Path(location).read_bytes())
    for place in np.linspace(0, len(data) - 1, 25).astype(int):
        damaged = data.copy()
        damaged[place] ^= 1
        Path(location).write_bytes(damaged)
        found = hashlib.sha256(damaged).hexdigest()
        with pytest.raises(
            ValueError, match=f"changed since it was written; .*expected SHA-256 {digest}, found {found}"
        ):
            read_exemplars(location, sha256=digest)


def test_damage_is_found_without_a_hash_too(location):
    exemplars = make_exemplars()
    write_exemplars(location, exemplars)
    data = Path(location).read_bytes()
    in_image, in_feature = (data.index(part) for part in (exemplars.image[3], exemplars.feature[2].tobytes()))
    for damaged in (data[:-20], b"", b"no Parquet", flipped(data, in_image), flipped(data, in_feature)):
        Path(location).write_bytes(damaged)
        with pytest.raises(
            ValueError, match=r"stage-1.parquet: no usable file of exemplars \(.+\); restore it"
        ) as error:
            read_exemplars(location)
        assert "\n" not in str(error.value)


def flipped(data, place):
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def test_other_files_are_refused(location, tmp_path):
    with pytest.raises(ValueError, match="absent: no such file of exemplars; restore it from a backup"):
        read_exemplars(str(tmp_path / "absent"))
    with pytest.raises(ValueError, match="no such file of exemplars"):
        read_exemplars(str(tmp_path))
    write_exemplars(location, make_exemplars())
    table = pq.read_table(location)
    for other in (table.drop(["label"]), table.set_column(5, "feature", pa.array([[1.0]] * 6))):
        pq.write_table(other, location)
        with pytest.raises(ValueError, match=r"its columns are image: binary, path: string, identity: int64"):
            read_exemplars(location)


def test_memory_is_the_stages_one_after_the_other(tmp_path):
    files = [str(tmp_path / f"{stage}.parquet") for stage in (1, 2, 3)]
    digests = [write_exemplars(file, make_exemplars(stage)) for stage, file in enumerate(files, 1)]
    memory = read_memory(list(zip(files, digests, strict=True)))
    assert memory is not None
    assert_equal(memory, concatenate([make_exemplars(stage) for stage in (1, 2, 3)]))
    assert memory.stage.tolist() == [1] * 6 + [2] * 6 + [3] * 6
    assert read_memory([]) is None
    with pytest.raises(ValueError, match=r"a stage comes twice in the memory: stages \[1, 1\]"):
        read_memory([(files[0], digests[0])] * 2)
    with pytest.raises(ValueError, match=r"2\.parquet changed since it was written"):
        read_memory([(files[0], digests[0]), (files[1], digests[0])])


def test_features_of_different_lengths_are_refused(tmp_path):
    parts = [make_exemplars(1), make_exemplars(2, size=8)]
    files = [(str(tmp_path / str(part.stage[0])), part) for part in parts]
    written = [(file, write_exemplars(file, part)) for file, part in files]
    with pytest.raises(ValueError, match=r"different lengths cannot be in one memory: 4 \(stage 1\), 8 \(stage 2\)"):
        read_memory(written)


def test_a_file_holds_one_stage(location):
    with pytest.raises(ValueError, match=r"a file holds one stage, got stages \[1, 2\]; write one file for each"):
        write_exemplars(location, concatenate([make_exemplars(1), make_exemplars(2)]))
    assert not Path(location).exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"feature": np.zeros((0, 4), np.float32)}, r"float32 \[N, D\] with N, D > 0, got float32 \[0, 4\]"),
        ({"feature": np.eye(6)}, "got float64"),
        ({"feature": 2 * np.eye(6, dtype=np.float32)}, "6 features are not of norm 1, the first in row 0 with 2.0"),
        ({"feature": np.full((6, 1), np.nan, np.float32)}, "6 features are not of norm 1, the first in row 0 with nan"),
        ({"label": np.arange(5)}, r"6 features need as many values of label, got \[5\]"),
        ({"label": np.arange(6.0)}, "label must be int64 and >= 0, got float64"),
        ({"label": np.full(6, 4)}, "a label stands for several identities of one stage"),
        ({"identity": np.arange(6)}, "identity must be int64 and >= 1, got int64 from 0"),
        ({"stage": np.arange(6)}, "stage must be int64 and >= 1, got int64 from 0"),
        ({"image": np.array([b"a", "b", b"c", b"d", b"e", b"f"], object)}, "image must be bytes .* got 'b' in row 1"),
        ({"image": np.array([b"a", b"b", b"", b"d", b"e", b"f"], object)}, "not empty, got b'' in row 2"),
        ({"path": np.full(6, None, object)}, "path must be str and not empty, got None in row 0"),
    ],
)
def test_wrong_exemplars_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(make_exemplars(), **change)


def test_nothing_to_put_together_is_refused():
    with pytest.raises(ValueError, match="there are no exemplars to put together"):
        concatenate([])

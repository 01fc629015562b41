"""The report: one file that holds all it shows, escapes what it is told, and marks right and wrong in words."""

import base64
import re

import numpy as np
import pytest

from evaluation.datasets.images import decode_image
from evaluation.report import page as report
from evaluation.report.charts import line_chart


def crop(seed, height=128, width=64):
    """A person of a sort: a plain background, a head, a shirt and trousers, and some noise."""
    rng = np.random.default_rng(seed)
    image = np.full((128, 64, 3), rng.integers(120, 230, 3), float)
    image[8:28, 24:40] = (214, 170, 140)
    image[28:72, 16:48] = rng.integers(20, 235, 3)
    image[72:124, 20:44] = rng.integers(20, 160, 3)
    noisy = np.clip(image + rng.normal(0, 8, image.shape), 0, 255).astype(np.uint8)
    return noisy.repeat(-(-height // 128), 0).repeat(-(-width // 64), 1)[:height, :width]


def example_sections(num_queries=3, length=8):
    k = list(range(1, 51))
    curves = {
        name: (k, [1 - (1 - first) * np.exp(-rate * (x - 1)) for x in k])
        for name, first, rate in (("ISR", 0.62, 0.09), ("colour histogram", 0.31, 0.05), ("random weights", 0.12, 0.03))
    }
    rows = (
        ("ISR", "41.3 %", "62.0 %"),
        ("colour histogram", "17.8 %", "31.2 %"),
        ("random weights", "9.0 %", "12.1 %"),
    )
    rng = np.random.default_rng(0)
    queries = tuple(
        report.RankedQuery(
            query=crop(q),
            caption=f"camera {q + 1}",
            rankings=tuple(
                report.Ranking(
                    method=method,
                    gallery=tuple(crop(q if right else 100 * q + n) for n, right in enumerate(flags)),
                    is_right=tuple(flags),
                )
                for method, flags in (
                    ("ISR", [bool(x) for x in rng.random(length) < 0.7]),
                    ("colour histogram", [bool(x) for x in rng.random(length) < 0.3]),
                )
            ),
        )
        for q in range(num_queries)
    )
    pairs = tuple(
        report.Pair(
            left=crop(n),
            right=crop(n if n % 4 else n + 50),
            caption=f"reliability {1 - n / 20:.2f}",
            is_right=None if n == 5 else bool(n % 4),
        )
        for n in range(1, 11)
    )
    return [
        report.Text(
            heading="What was done", paragraphs=("Ten minutes of video became 4,210 crops.", "No labels were used.")
        ),
        report.Table(
            heading="Retrieval",
            caption="Market protocol, 240 queries, 1,180 gallery images.",
            columns=("model", "mAP", "Rank-1"),
            rows=rows,
            highlight_row=0,
        ),
        report.Figure(
            heading="Cumulative matching",
            caption="How often the first match is at rank k or better.",
            image=line_chart(curves, x_label="rank k", y_label="queries", y_range=(0, 1), y_is_percent=True),
        ),
        report.Figure(
            heading="mAP by model",
            image=line_chart({"ISR": ([1, 2], [0.413, 0.5])}, x_label="stage", y_label="mAP", y_is_percent=True),
        ),
        report.ImageGrid(heading="Mined pairs", caption="Found without labels; the marks use the labels.", pairs=pairs),
        report.RankLists(heading="What a query finds", caption="Chosen at random.", queries=queries),
    ]


TILES = (
    report.Tile(label="ISR, mAP", value="41.3 %", detail="random weights: 9.0 %"),
    report.Tile(label="ISR, Rank-1", value="62.0 %", detail="colour histogram: 31.2 %"),
    report.Tile(label="Labels used", value="0"),
)


def render(tmp_path, sections, **options):
    path = tmp_path / "out" / "report.html"
    report.write_report(str(path), "A <title>", "Sub & title", sections, **options)
    return path.read_text(encoding="utf-8")


def test_the_file_holds_all_that_it_shows(tmp_path):
    html = render(tmp_path, example_sections(), tiles=TILES)
    assert not re.search(r"https?://|//cdn|@import|<script|<link|url\(", html)
    sources = re.findall(r'<img[^>]* src="([^"]*)"', html)
    num_crops = 2 * 10 + 3 * (1 + 2 * 8)
    assert len(sources) == num_crops + 2
    assert all(source.startswith("data:image/") for source in sources)
    jpegs = [base64.b64decode(source.split(",")[1]) for source in sources if source.startswith("data:image/jpeg")]
    assert len(jpegs) == num_crops
    assert all(data.startswith(b"\xff\xd8") for data in jpegs)


def test_text_is_escaped(tmp_path):
    evil = "<script>alert('x')</script>&"
    sections = [
        report.Text(heading=evil, paragraphs=(evil,)),
        report.Table(heading="t", caption=evil, columns=(evil,), rows=((evil,),)),
        report.Figure(heading=evil, caption='" onerror="x', image=b"\x89PNG"),
        report.Pictures(heading=evil, pictures=(report.Picture(image=crop(0), caption=evil),)),
        report.ImageGrid(heading=evil, pairs=(report.Pair(left=crop(0), right=crop(1), caption=evil),)),
        report.RankLists(
            heading="r",
            queries=(
                report.RankedQuery(
                    query=crop(0),
                    caption=evil,
                    rankings=(report.Ranking(method=evil, gallery=(crop(1),), is_right=(True,)),),
                ),
            ),
        ),
    ]
    html = render(tmp_path, sections, tiles=(report.Tile(label=evil, value=evil, detail=evil),))
    assert "<script" not in html
    assert '" onerror=' not in html
    assert "<h1>A &lt;title&gt;</h1>" in html
    assert "Sub &amp; title" in html
    assert "data:image/png;base64," in html


def test_rank_lists_and_pairs_say_right_and_wrong_in_words(tmp_path):
    ranking = report.Ranking(method="m", gallery=(crop(0), crop(1), crop(2)), is_right=(True, False, True))
    lists = report.RankLists(heading="r", queries=(report.RankedQuery(query=crop(0), rankings=(ranking,)),))
    html = render(tmp_path, [lists])
    assert re.findall(r'alt="(rank [^"]*)"', html) == ["rank 1, right", "rank 2, wrong", "rank 3, right"]
    assert re.findall(r"([✓✗])</span> (right|wrong)", html) == [("✓", "right"), ("✗", "wrong"), ("✓", "right")]
    pairs = tuple(report.Pair(left=crop(0), right=crop(1), is_right=known) for known in (True, False, None))
    html = render(tmp_path, [report.ImageGrid(heading="p", pairs=pairs)])
    assert re.findall(r"[✓✗]</span> (right|wrong)", html) == ["right", "wrong"]


def test_pictures_are_larger_than_crops_and_marked_where_something_is_claimed(tmp_path):
    pictures = tuple(
        report.Picture(image=crop(n, 512, 400), caption=f"score {n} & up", is_right=known)
        for n, known in enumerate((True, False, None))
    )
    html = render(tmp_path, [report.Pictures(heading="Matches", caption="Lines", pictures=pictures)])
    assert re.findall(r'alt="(score[^"]*)"', html) == ["score 0 &amp; up", "score 1 &amp; up", "score 2 &amp; up"]
    assert re.findall(r"[✓✗]</span> (right|wrong)", html) == ["right", "wrong"]
    images = [decode_image(base64.b64decode(data)) for data in re.findall(r'data:image/jpeg;base64,([^"]*)"', html)]
    sizes = [np.shape(image) for image in images if image is not None]
    assert sizes == [(report.PICTURE_HEIGHT_PIXELS, 300, 3)] * 3
    assert report.PICTURE_HEIGHT_PIXELS > report.CROP_HEIGHT_PIXELS


@pytest.mark.parametrize(
    ("cell", "number", "spread"),
    [
        ("41.3\xa0% (39.8 - 42.9)", "41.3\xa0%", "(39.8 - 42.9)"),
        ("41.3 % ± 0.9", "41.3 %", "± 0.9"),
        ("0.91 +/- 0.02", "0.91", "+/- 0.02"),
        ("41.3 %", "41.3 %", None),
        ("CUHK03 detected", "CUHK03 detected", None),
        ("(none)", "(none)", None),
    ],
)
def test_what_follows_a_number_is_set_apart(tmp_path, cell, number, spread):
    html = render(tmp_path, [report.Table(heading="t", columns=("a", "b"), rows=(("x 1 (y)", cell),))])
    assert re.findall(r'<td><span class="number">([^<]*)</span>', html) == [number]
    assert re.findall(r'<span class="spread">([^<]*)</span>', html) == ([spread] if spread else [])
    assert '<th scope="row">x 1 (y)</th>' in html


def test_the_highlighted_row_is_marked(tmp_path):
    html = render(tmp_path, example_sections()[1:2])
    assert re.findall(r'<tr class="highlight"><th scope="row">([^<]*)<', html) == ["ISR"]


def test_unequal_lengths_are_refused():
    with pytest.raises(ValueError, match="table 't': row 1 has 1 cells for 2 columns"):
        report.Table(heading="t", columns=("a", "b"), rows=(("1", "2"), ("1",)))
    with pytest.raises(ValueError, match="m: 1 images and 2 marks"):
        report.Ranking(method="m", gallery=(crop(0),), is_right=(True, False))


def test_percent_has_one_decimal():
    assert report.percent(0.41349) == "41.3\xa0%"

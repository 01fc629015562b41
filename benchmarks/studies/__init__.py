"""What is learned, as means over seeds: arms x seeds on one runner."""

STUDIES = (
    "demo-seeds",
    "recipes",
    "reliability",
    "real-video",
    "lifelong-seeds",
    "metric-seeds",
    "matching-seeds",
)
"""Names; each is a module with a function `study` of its options that makes the `benchmarks.studies.study.Study`."""

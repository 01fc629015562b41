"""``python -m benchmarks.tables``: write the tables of ``benchmarks/README.md`` anew, from ``benchmarks/results``.

The prose is written by hand. A table stands between ``<!-- table NAME -->`` and ``<!-- end -->``, and a line below it
says where its numbers come from; NAME is a file of ``benchmarks/results`` without ``.json``.
"""

import re
from pathlib import Path

from benchmarks import results_file
from benchmarks.speed import saved
from cluster.errors import InputError

README = Path(__file__).with_name("README.md")
BLOCK = re.compile(r"<!-- table (\S+) -->\n.*?<!-- end -->", re.DOTALL)


def fill(text: str) -> str:
    """Return a README with its tables as the results have them.

    Raises:
        InputError: If it names a result that is not there, or leaves one out.
    """
    names, known = BLOCK.findall(text), sorted(path.stem for path in results_file.FOLDER.glob("*.json"))
    if sorted(names) != known:
        raise InputError(f"{README} has tables {sorted(names)}, and {results_file.FOLDER} has results {known}")
    return BLOCK.sub(lambda match: block(match[1]), text)


def block(name: str) -> str:
    """Return the table of a result, and where it comes from."""
    content = results_file.read(results_file.location_of(name))
    if content["kind"] == "speed":
        body = saved.table(content["rows"])
    else:
        body = f"{content['table']}\n\n{results_file.from_line(content['provenance'], content.get('note'))}"
    return f"<!-- table {name} -->\n\n{body}\n\n<!-- end -->"


if __name__ == "__main__":
    README.write_text(fill(README.read_text(encoding="utf-8")), encoding="utf-8")

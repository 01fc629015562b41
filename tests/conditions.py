"""Runs tests as other machines would: python -m tests.conditions [CONDITION ...] [-- PYTEST OPTIONS].

A test whose result depends on the processor, on the number of cores, on the locale or on the terminal passes here and
fails elsewhere. All conditions, and the whole suite, take an hour or two; ``-- -m "not ray"`` takes a minute or two
each. Logs are in ``out/conditions``; the exit code is 1 if a condition failed.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

CONDITIONS: dict[str, dict[str, str]] = {
    "as-it-is": {},
    # Kernels of PyTorch, of its libraries and of NumPy's, and so the order of sums.
    "torch-sse": {"ATEN_CPU_CAPABILITY": "default"},
    "torch-avx2": {"ATEN_CPU_CAPABILITY": "avx2"},
    "torch-avx512": {"ATEN_CPU_CAPABILITY": "avx512"},
    "mkl-compatible": {"MKL_CBWR": "COMPATIBLE", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"},
    "onednn-sse": {"ONEDNN_MAX_CPU_ISA": "SSE41"},
    "openblas-haswell": {"OPENBLAS_CORETYPE": "Haswell"},
    "openblas-nehalem": {"OPENBLAS_CORETYPE": "Nehalem"},
    "one-thread": {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
    "64-threads": {"OMP_NUM_THREADS": "64", "OPENBLAS_NUM_THREADS": "64", "MKL_NUM_THREADS": "64"},
    # What is around a process.
    "locale-c": {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "east": {"TZ": "Pacific/Chatham"},
    "west": {"TZ": "America/St_Johns"},
    "narrow": {"COLUMNS": "60", "LINES": "10", "TERM": "dumb"},
    "wide": {"COLUMNS": "250", "TERM": "xterm-256color", "FORCE_COLOR": "1"},
    "other-hashes": {"PYTHONHASHSEED": "4242"},
}
LOGS = Path("out", "conditions")


def run(name: str, options: list[str]) -> bool:
    """Run the tests under one condition and say how they ended."""
    log, began = LOGS / f"{name}.log", time.monotonic()
    with log.open("w", encoding="utf-8") as stream:
        command = [sys.executable, "-m", "pytest", *options]
        done = subprocess.run(command, env=os.environ | CONDITIONS[name], stdout=stream, stderr=stream, check=False)
    lines = log.read_text(errors="replace", encoding="utf-8").splitlines()
    print(f"{name:<17} {time.monotonic() - began:5.0f} s  {lines[-1] if lines else 'no output'}", flush=True)
    for line in lines:
        if line.startswith(("FAILED", "ERROR")):
            print(f"    {line}", flush=True)
    return done.returncode == 0


def main(arguments: list[str]) -> int:
    """Run what was asked for; 0 if all of it passed."""
    split = arguments.index("--") if "--" in arguments else len(arguments)
    names, options = arguments[:split] or list(CONDITIONS), arguments[split + 1 :]
    unknown = [name for name in names if name not in CONDITIONS]
    if unknown:
        print(f"error: no condition {unknown[0]}; there are: {', '.join(CONDITIONS)}", file=sys.stderr)
        return 2
    LOGS.mkdir(parents=True, exist_ok=True)
    return 0 if all([run(name, options) for name in names]) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

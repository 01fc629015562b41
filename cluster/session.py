"""The only place that connects to Ray.

On a cluster (``ray job submit``, or ``RAY_ADDRESS`` set) this joins it. Otherwise it starts a local one for this
process and shuts down exactly that one at the end; it never touches another Ray on the machine.
"""

import logging
import os

import ray
import ray.data

MINIMUM_LOCAL_CPUS = 6
"""Ray's CPUs are tickets, not cores. With few, Train workers and Data stages starve each other silently."""


def connect() -> None:
    """Join the cluster that ``RAY_ADDRESS`` names, or start a local one. Calling it again does nothing.

    >>> import cluster
    >>> cluster.connect()  # doctest: +SKIP
    """
    if not ray.is_initialized():
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
        # A worker's report waits until the controller asks for it, by default every 2 s: no faster loop than that.
        os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
        # Silences a warning about a default that changes; our workers on CPU nodes must not see GPUs either way.
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        is_quiet = not os.environ.get("PERENNIAL_RAY_LOGS")
        # Tasks print their own summary through us; Ray's per-operator logs stay in its session folder.
        logging.getLogger("ray.data").setLevel(logging.WARNING)
        # It warns that progress bars are off, which is our doing (see `configure_data`).
        logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)
        if os.environ.get("RAY_ADDRESS"):
            ray.init(log_to_driver=not is_quiet, logging_level=logging.WARNING)
        else:
            # A local cluster asks for a token by default, as it should; Ray warns that it does.
            logging.getLogger("ray._private.authentication.authentication_token_setup").setLevel(logging.ERROR)
            os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")  # a process that waits for what cannot be
            ray.init(
                address="local",
                num_cpus=max(MINIMUM_LOCAL_CPUS, os.cpu_count() or 1),
                dashboard_host="127.0.0.1",
                log_to_driver=not is_quiet,
                logging_level=logging.WARNING,
            )
    configure_data()


def configure_data() -> None:
    """Set up Ray Data in this process: rows in order, and our own progress lines instead of Ray's."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    # Without this, rows come back in the order in which tasks happen to finish.
    context.execution_options.preserve_order = True


def disconnect() -> None:
    """Leave the cluster; a local one that `connect` started ends with it.

    >>> import cluster
    >>> cluster.disconnect()  # nothing is connected: nothing happens
    """
    if ray.is_initialized():
        ray.shutdown()


def address() -> str:
    """Return the address of the cluster in use, for processes that must find the same one."""
    return str(ray.get_runtime_context().gcs_address)


def usable_workers() -> int:
    """Return how many one-CPU processes to start by default: the cores here, or a cluster's CPUs less one for Ray."""
    cpus = int(total_resources().get("CPU", 1))
    return max(1, cpus - 1 if os.environ.get("RAY_ADDRESS") else min(cpus - 1, os.cpu_count() or 1))


def total_resources() -> dict[str, float]:
    """Return what the whole cluster has by name, such as ``CPU`` and ``GPU``."""
    return {name: float(amount) for name, amount in ray.cluster_resources().items()}

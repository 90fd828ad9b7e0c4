"""The columns that measure.json fills: of a trial's pruned network, and of the dense one measured beside it."""

import statistics
from collections.abc import Iterable
from typing import Any

from analysis.columns import MEASUREMENT_COLUMNS
from analysis.tables.problems import Problems
from records.measurement import Measurement, NetworkMeasurement, NetworkMemory, TestRun, parse_measurement
from records.trial import MEASUREMENT_NAME, TrialFolder

# The columns that are numbers, and those that are texts: the device and the time.
NUMBERS = tuple(name for name, column in MEASUREMENT_COLUMNS.items() if column.kind in ("number", "fraction"))
TEXTS = tuple(name for name in MEASUREMENT_COLUMNS if name not in NUMBERS)

Values = dict[str, Any]  # of columns, by their names


def read_measurement(trial: TrialFolder, problems: Problems) -> Measurement | None:
    """What was measured of the trial; None if nothing was, or if its file is damaged (`problems` gets a line)."""
    name = f"trials/{trial.number:05}/model/measure.json"
    try:
        return parse_measurement(trial.read_text(MEASUREMENT_NAME))
    except FileNotFoundError:
        return None
    except OSError as error:
        problems.add(trial.number, f"{name} cannot be read: {error.strerror}", error)
    except ValueError as error:
        problems.add(trial.number, f"{name} is damaged: {error}")
    return None


def pruned_values(measurement: Measurement) -> Values:
    """NUMBERS and TEXTS of the pruned network, None or missing where one is not known."""
    values = _network_values(measurement, measurement.pruned)
    for latency in measurement.latency:
        values |= _speed_values(latency.batch_size, latency.pruned_ms.median, latency.speedup.median)
    return values


def dense_values(measurements: Iterable[Measurement]) -> Values:
    """NUMBERS and TEXTS of the dense network, as far as they are known: medians over all that was measured of it.

    Speedups are 1.0 where there is a latency. measured_on is there where it was one device, and measured is the latest
    time, as text. {} where it was never measured.
    """
    each = []
    for measurement in measurements:
        values = _network_values(measurement, measurement.dense)
        for latency in measurement.latency:
            speedup = None if latency.dense_ms.median is None else 1.0
            values |= _speed_values(latency.batch_size, latency.dense_ms.median, speedup)
        if measurement.dense is not None or measurement.latency:
            each.append(values)
    known = {name: [values[name] for values in each if values.get(name) is not None] for name in (*NUMBERS, *TEXTS)}
    found: Values = {name: statistics.median(known[name]) for name in NUMBERS if known[name]}
    if len(set(known["measured_on"])) == 1:
        found["measured_on"] = known["measured_on"][0]
    if known["measured"]:
        found["measured"] = max(known["measured"])
    return found


def _network_values(measurement: Measurement, network: NetworkMeasurement | None) -> Values:
    network = network or NetworkMeasurement()
    test, memory = network.test or TestRun(), network.memory or NetworkMemory()
    return {
        "test_accuracy": test.accuracy,
        "size_bytes": network.size_bytes,
        "test_seconds": test.seconds,
        "peak_memory_bytes": test.peak_bytes,
        "mean_memory_bytes": test.mean_bytes,
        "weights_bytes": memory.weights_bytes,
        "activation_bytes": memory.activation_bytes,
        "measured_on": measurement.measured_on,
        "measured": measurement.created,
    }


def _speed_values(batch_size: int, latency_ms: float | None, speedup: float | None) -> Values:
    return {
        f"batch{batch_size}_latency_ms": latency_ms,
        f"batch{batch_size}_images_per_second": 1e3 * batch_size / latency_ms if latency_ms else None,
        f"batch{batch_size}_speedup": speedup,
    }

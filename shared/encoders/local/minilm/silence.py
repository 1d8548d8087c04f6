"""Imported before OpenVINO: keeps it from reporting over the network.

OpenVINO's converter, which is not needed here, reports its own import from a forked process. That
process would keep the lock of the data folder and the terminal, sometimes for ever. Where the
reporting package cannot be imported, OpenVINO takes a stub.
"""

import sys

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: not importable

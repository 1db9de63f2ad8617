"""Starting, signalling and queueing engine processes. Light: torch is loaded by the processes, not here."""

from engine.launch.foreground import run_tool
from engine.launch.gpu import busy_gpu
from engine.launch.queue import continue_queue, enqueue, stop_queue
from engine.launch.signals import kill, preempt, stop
from engine.launch.start import start_engine

__all__ = [
    "busy_gpu", "continue_queue", "enqueue", "kill", "preempt", "run_tool", "start_engine", "stop", "stop_queue",
]  # fmt: skip

"""Start and signal engine processes. Light: torch is loaded by the processes, not here."""

from engine.launch.foreground import run_tool
from engine.launch.gpu import busy_gpu
from engine.launch.signals import kill, preempt, stop
from engine.launch.start import start_engine

__all__ = ["busy_gpu", "kill", "preempt", "run_tool", "start_engine", "stop"]

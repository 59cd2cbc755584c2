"""Canonical parameters → inputs of any workflow's nodes.

What a parameter is written into is said by the configuration, else by ``@`` markers in the titles of nodes, else found
by the automatic rule (`automatic`).
"""

from __future__ import annotations

from imagerouter_comfyui.bind.inserts import ADDABLE
from imagerouter_comfyui.bind.resolving import check, inspect, resolve
from imagerouter_comfyui.bind.rows import table
from imagerouter_comfyui.bind.workflow import Workflow

__all__ = ["ADDABLE", "Workflow", "check", "inspect", "resolve", "table"]

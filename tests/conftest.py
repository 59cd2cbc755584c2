import os
import sys
import tempfile

import structlog
from hypothesis import settings

# Where the environment keeps no bytecode, every command that a test starts would compile all that it imports again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Tests share the cores already: threads of torch that wait for each other would only take turns.
os.environ["OMP_NUM_THREADS"] = "1"

# A ComfyUI or a web UI that happens to run on this machine must not be found by servers without a configuration.
os.environ["COMFY_PORT"] = "9"
os.environ["GRADIO_SERVER_PORT"] = "9"

# Nor does a test write into the home folder of whoever runs it.
_state = tempfile.TemporaryDirectory(prefix="imagerouter-state-")
os.environ["XDG_STATE_HOME"] = os.environ["XDG_CACHE_HOME"] = _state.name

# Drawing the local variables of a traceback takes longer than most tests.
_plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
structlog.configure(processors=[*structlog.get_config()["processors"][:-1], _plain])

# The same examples in every run, and few of them; `HYPOTHESIS_PROFILE=thorough` looks for new ones.
settings.register_profile("quick", max_examples=40, deadline=None, derandomize=True)
settings.register_profile("thorough", max_examples=1000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

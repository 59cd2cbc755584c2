import os
import tempfile

# A ComfyUI or a web UI that happens to run on this machine must not be found by servers without a configuration.
os.environ["COMFY_PORT"] = "9"
os.environ["GRADIO_SERVER_PORT"] = "9"

# Nor does a test write into the home folder of whoever runs it.
_state = tempfile.TemporaryDirectory(prefix="imagerouter-state-")
os.environ["XDG_STATE_HOME"] = os.environ["XDG_CACHE_HOME"] = _state.name

import os

# A ComfyUI or a web UI that happens to run on this machine must not be found by servers without a configuration.
os.environ["COMFY_PORT"] = "9"
os.environ["GRADIO_SERVER_PORT"] = "9"

import os

# A ComfyUI that happens to run on this machine must not be found by servers without a configuration.
os.environ["COMFY_PORT"] = "9"

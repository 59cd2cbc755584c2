"""Drawing over the family's common routes, ``/sdapi/v1/txt2img`` and ``/sdapi/v1/img2img``."""

from imagerouter_a1111.sdapi.press import SdapiPress

__all__ = ["SdapiPress"]

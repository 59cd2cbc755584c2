"""Pictures without a server, in this process: python examples/embedded.py [imagerouter.yaml]"""

import sys

import imagerouter
from imagerouter.client import CompletedEvent, ProgressEvent

with imagerouter.Client(sys.argv[1] if len(sys.argv) > 1 else None) as client:
    circle = client.generate("a red circle on a blue background", seed=7, steps=12)[0]
    print(circle.save("circle.png"))
    for event in client.stream("a green circle on a blue background", images=circle, strength=0.8, seed=7, steps=12):
        if isinstance(event, ProgressEvent):
            print(f"{event.stage} {event.step}/{event.steps} on {event.provider}", file=sys.stderr)
        elif isinstance(event, CompletedEvent):
            print(event.picture.save("recoloured.png"))

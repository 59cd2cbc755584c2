"""``python -m imagerouter`` is ``imagerouter``."""

from imagerouter.cli import main

main()

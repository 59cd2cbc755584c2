"""Finished pictures for ``response_format: url``: kept for a while in a folder or a bucket, behind signed links."""

from imagerouter.storage.links import LinkExpiredError, StoredFile
from imagerouter.storage.storage import Storage, swept
from imagerouter.storage.store import StorageError

__all__ = ["LinkExpiredError", "Storage", "StorageError", "StoredFile", "swept"]

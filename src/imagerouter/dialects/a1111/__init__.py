"""AUTOMATIC1111's API as its clients speak it: requests to fields of the images API, outcomes to its answers.

Names, defaults and shapes are those of its version 1.10 (``modules/api/models.py``, ``modules/processing.py``).
"""

"""The trackers and log formats that runs are read from: one file each, all with the interface of `attempt.py`."""

"""The formats that tables come in: one file each, all with the interface of `source.py`."""

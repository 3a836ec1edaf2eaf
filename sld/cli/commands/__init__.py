"""The commands, a family a file: options in, one call of the library, text or JSON out.

A file here has `register(app)`, which adds its commands; `sld/cli/app.py` calls it.
"""

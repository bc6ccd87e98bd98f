"""The one thing that pyproject.toml cannot say: which module describes the cffi extension."""

from setuptools import setup

setup(cffi_modules=["cffi_build/build_core.py:ffibuilder"])

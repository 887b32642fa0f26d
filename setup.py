"""Packaging of wals_spark. The pinned versions that the scripts install are in requirements/."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
README = HERE / "README.md"


def read_version() -> str:
    """Return the package's ``__version__`` without importing it: its dependencies may not be there yet."""
    text = (HERE / "wals_spark" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', text, flags=re.MULTILINE)
    if found is None:
        raise RuntimeError('wals_spark/__init__.py has no line __version__ = "..."')
    return found.group(1)


setup(
    name="wals_spark",
    version=read_version(),
    description="Weighted alternating least squares matrix factorisation on Apache Spark",
    long_description=README.read_text(encoding="utf-8") if README.exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["wals_spark", "wals_spark.*"]),
    package_data={"wals_spark": ["py.typed"]},
    install_requires=[
        "numpy>=1.26",
        "pyarrow>=14",
        "msgspec>=0.18",
        "threadpoolctl>=3",
        'tomli>=1.1; python_version < "3.11"',
    ],
    extras_require={
        # Clusters bring their own Spark, so it is no hard requirement. PySpark's mapInArrow asks for pandas.
        "spark": ["pyspark>=3.5,<5", "pandas>=2.2"],
        "terminal": ["rich>=13"],
        "fast": ["numba>=0.60"],
        "index": ["faiss-cpu>=1.9"],
        "tune": ["optuna>=4"],
    },
)

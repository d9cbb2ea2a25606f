"Installs rate_nb. Everything that can change stands in settings.ini."
import sys
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

here = Path(__file__).resolve().parent
sys.path.insert(0, str(here))
from rate_nb.engine.packed_rows import pack_rows  # noqa: E402


class BuildWithRows(build_py):
    "Also packs the committed rows, which an installed package would lack otherwise."
    def run(self):
        super().run()
        if getattr(self, "editable_mode", False): return  # the repository is there, with its rows
        pack_rows(here/"results", Path(self.build_lib)/"rate_nb"/"data"/"results.zip")


readme = here / "README.md"
parser = ConfigParser(delimiters=["="])
parser.read(here / "settings.ini", encoding="utf-8")
settings = parser["DEFAULT"]

extras = {
    key.removeprefix("extra_").replace("_", "-"): settings[key].split()
    for key in settings
    if key.startswith("extra_")
}
in_all = set(extras) - set(settings["not_in_all"].split())
extras["all"] = sorted({requirement for name in in_all for requirement in extras[name]})

setup(
    name=settings["lib_name"],
    version=settings["version"],
    description=settings["description"],
    long_description=readme.read_text(encoding="utf-8") if readme.exists() else "",
    long_description_content_type="text/markdown",
    author=settings["author"],
    author_email=settings["author_email"],
    url=settings["git_url"],
    license=settings["license"].upper(),
    keywords=settings["keywords"],
    packages=find_packages(include=["rate_nb", "rate_nb.*"]),
    package_data={"rate_nb": ["data/**/*"]},
    cmdclass={"build_py": BuildWithRows},
    classifiers=[f"Programming Language :: Python :: {version}"
                 for version in settings["tried_pythons"].split()],
    python_requires=f">={settings['min_python']}",
    install_requires=settings["requirements"].split(),
    extras_require=extras,
    entry_points={"console_scripts": ["rate-nb=rate_nb.engine.cli:main"]},
    zip_safe=False,
)

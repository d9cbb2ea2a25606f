"Installs rate_nb. Everything that can change stands in settings.ini."
import re
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


def absolute(text: str, address: str, branch: str) -> str:
    "Markdown whose links lead into the public repository, wherever it is read."
    def public(link):
        opening, target = link.groups()
        if re.match(r"\w+:|#", target): return link[0]
        view = "raw" if opening[0] == "!" else "blob"  # a folder's page is found by `blob`, too
        return f"{opening}{address}/{view}/{branch}/{target})"

    return re.sub(r"(!?\[[^\]]*\]\()([^)\s]+)\)", public, text)


parser = ConfigParser(delimiters=["="])
parser.read(here / "settings.ini", encoding="utf-8")
settings = parser["DEFAULT"]
address = settings["git_url"]
readme = (here/"README.md").read_text(encoding="utf-8")

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
    long_description=absolute(readme, address, settings["branch"]),
    long_description_content_type="text/markdown",
    author=settings["author"],
    author_email=settings["author_email"],
    url=address,
    project_urls={"Source": address, "Issues": f"{address}/issues",
                  "Changelog": f"{address}/blob/{settings['branch']}/CHANGELOG.md",
                  "Course": f"{address}/blob/{settings['branch']}/nbs/index.ipynb",
                  "Paper": settings["paper_url"]},
    license=settings["license"].upper(),
    keywords=settings["keywords"],
    packages=find_packages(include=["rate_nb", "rate_nb.*"]),
    package_data={"rate_nb": ["py.typed", "data/**/*"]},
    cmdclass={"build_py": BuildWithRows},
    classifiers=settings["classifiers"].strip().splitlines()
                + [f"Programming Language :: Python :: {version}"
                   for version in settings["tried_pythons"].split()],
    python_requires=f">={settings['min_python']}",
    install_requires=settings["requirements"].split(),
    extras_require=extras,
    entry_points={"console_scripts": ["rate-nb=rate_nb.engine.cli:main"]},
    zip_safe=False,
)

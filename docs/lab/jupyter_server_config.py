"Settings of `make lab`: a notebook that was opened and not changed is saved as it was."


def as_committed(model: dict, **_) -> None:
    "Leaves out what JupyterLab adds to a notebook of ours when its kernel starts."
    content = model["content"]
    if model["type"] != "notebook" or not isinstance(content, dict): return
    content["metadata"].pop("language_info", None)
    kernel = content["metadata"].get("kernelspec", {})
    if kernel.get("name") == "python3": kernel["display_name"] = "python3"


if "get_config" in globals():  # read by Jupyter
    get_config().FileContentsManager.pre_save_hook = as_committed  # noqa: F821

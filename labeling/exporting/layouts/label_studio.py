"""Write Label Studio tasks with annotations, and the labeling configuration."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from labeling.exporting.contents import Contents, LabeledImage
from labeling.exporting.layouts.base import Layout, Loading
from labeling.exporting.spool import JsonList
from labeling.exporting.zip_stream import Member

CONVERTER = """
import json
from pathlib import Path

from label_studio_sdk.converter import Converter

config = Path("data/label_config.xml").read_text()
Converter(config, project_dir=None).convert_to_json_min("data/tasks.json", "minimal", is_dir=False)
tasks = json.loads(Path("minimal/result.json").read_text())
"""


class LabelStudio(Layout):
    """Tasks with one annotation each."""

    name = "labelstudio"
    title = "Label Studio"
    sentence = "Tasks with their annotations and the labeling configuration, to import into a Label Studio project."
    loading = (Loading("label-studio-sdk", CONVERTER),)

    def members(self, contents: Contents) -> Iterator[Member]:
        """Yield the images, the tasks and the configuration."""
        tasks = JsonList()
        for image in contents.images():
            for member in contents.file(image, f"images/{image.name}"):
                yield member
                tasks.add(_task(image))
        yield Member("tasks.json", tasks.chunks(), tasks.is_huge)
        yield Member("label_config.xml", [_configuration(contents).encode()])


def _task(image: LabeledImage) -> dict[str, object]:
    choice = {"choices": [image.label.name]}
    result = {"id": str(image.item_id), "from_name": "label", "to_name": "image", "type": "choices", "value": choice}
    # The files are served from the folder that LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT names.
    data = {
        "image": f"/data/local-files/?d={quote(f'images/{image.name}')}",
        "item_id": image.item_id,
        "path": image.item_path,
        "split": image.split,
        "sha256": image.sha256,
    }
    return {"id": image.item_id, "data": data, "annotations": [{"id": image.item_id, "result": [result]}]}


def _configuration(contents: Contents) -> str:
    choices = "".join(f"    <Choice value={quoteattr(label.name)}/>\n" for label in contents.labels)
    return (
        '<View>\n  <Image name="image" value="$image"/>\n'
        f'  <Choices name="label" toName="image" choice="single">\n{choices}  </Choices>\n</View>\n'
    )

"""The machine that stands for the cluster's nodes: images, programs, and room for pods.

There are no images here: an image's name stands for the environment that it brings, and programs
are this machine's, Python and what is installed for it first of all. There are no mounts either: a
volume is mounted at a path that exists.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.kubernetes.container import Container
from tests.kubernetes.environment import command, environment
from tests.kubernetes.objects import Object, Objects


@dataclass
class Machine:
    """What all pods of a cluster share; while it `is_full`, new ones stay unscheduled."""

    objects: Objects
    images: Mapping[str, Mapping[str, str]]
    folder: Path
    programs: Path
    is_full: bool = False

    def start(self, container: Container, pod: Object) -> None:
        """Start a container's command; ConfigError if it refers to what does not exist."""
        variables = {
            **self._environment_of(pod),
            **self.images[container.spec["image"]],
            **environment(pod, container.spec, self.objects),
        }
        working_folder = self.folder / pod["metadata"]["uid"]
        working_folder.mkdir(exist_ok=True)
        container.start(
            self._found(command(container.spec, variables)),
            variables,
            Path(container.spec.get("workingDir") or working_folder),
        )

    def _environment_of(self, pod: Object) -> dict[str, str]:
        installed = Path(sys.executable).parent
        return {
            "PATH": f"{self.programs}:{installed}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.folder),
            "HOSTNAME": pod["spec"].get("hostname") or pod["metadata"]["name"],
        }

    def _found(self, words: list[str]) -> list[str]:
        """Put the stand-in for a program that this machine lacks where its path was named."""
        if words and (stand_in := self.programs / Path(words[0]).name).exists():
            return [str(stand_in), *words[1:]]
        return words

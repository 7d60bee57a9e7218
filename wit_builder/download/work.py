"""The piece of work that the pipeline hands to workers: light to import, so that only workers load client and decoders."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wit_builder.download.planned import Folders, Planned
from wit_builder.download.settings import FetchSettings
from wit_builder.download.summary import Summary, add_up
from wit_builder.images import ImageRules

if TYPE_CHECKING:
    from wit_builder.download.downloader import Downloader


class Running:
    """A worker process's downloader, closed when nobody holds on to it any longer."""

    def __init__(self, downloader: Downloader) -> None:
        self.downloader = downloader
        weakref.finalize(self, downloader.close)


@dataclass(frozen=True)
class DownloadShards:
    """The `Work` of a task: some shards, made with the process's one downloader. Gives their summary.

    Attributes:
      folders: where shards go.
      settings, rules: see their classes.
      threads: that decode and encode, in each process.
      live_folder: see `wit_builder.download.live`.
    """

    folders: Folders
    settings: FetchSettings
    rules: ImageRules
    threads: int = 2
    live_folder: str = ""

    def load(self) -> Running:
        """The process's loop, client and threads."""
        from wit_builder.download.downloader import Downloader

        return Running(Downloader(self.settings, self.rules, self.threads, self.live_folder))

    def __call__(self, running: Running, planned: Sequence[Planned]) -> Summary:
        return add_up(running.downloader.run(self.folders, planned))

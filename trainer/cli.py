"""`trainer COMMAND …`: finds the command's module and runs its `main`; nothing heavy is imported before."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from wit_builder import __version__
from wit_builder.errors import exit_with

# command: (module with `main(arguments)`, what it does)
COMMANDS = {
    "train": ("trainer.commands.train", "train a model on shards"),
    "tokenizer": ("trainer.commands.tokenizer", "learn a byte-level BPE tokenizer from the shards' texts"),
    "export": ("trainer.commands.export", "write a model for OpenAI's code, open_clip or Hugging Face"),
    "compare-objectives": ("trainer.commands.compare_objectives", "train several objectives alike and plot their efficiency"),
    "zero-shot": ("trainer.evaluate.zero_shot", "classify evaluation sets by prompts"),
    "linear-probe": ("trainer.evaluate.linear_probe", "fit a logistic regression on frozen features"),
    "few-shot": ("trainer.evaluate.few_shot", "probes on few examples a class, beside zero-shot"),
    "features": ("trainer.evaluate.write_features", "a model's features of evaluation sets as Parquet"),
    "retrieval": ("trainer.evaluate.retrieval", "images by text and texts by image"),
    "robustness": ("trainer.evaluate.robustness", "accuracy on shifted sets against a reference set"),
    "human-comparison": ("trainer.evaluate.human_comparison", "people's answers on a set beside the model's"),
    "bias-probe": ("trainer.evaluate.bias_probe", "which labels a model gives to which groups of people"),
    "attributes": ("trainer.evaluate.attributes", "accuracy on attributes of people, by pairs of groups"),
    "surveillance": ("trainer.evaluate.surveillance", "captions chosen for images, with hard negatives; things seen or not"),
    "identities": ("trainer.evaluate.identities", "people named among more and more names"),
    "geolocation": ("trainer.evaluate.geolocation", "where pictures were taken, by the nearest reference pictures"),
    "rerank": ("trainer.evaluate.rerank", "pictures ranked by a text"),
    "search": ("trainer.commands.search", "pictures, shards or videos looked through by texts and pictures"),
    "typographic": ("trainer.evaluate.typographic", "the attack of a word written on a picture, by size and place"),
    "visualize": ("trainer.evaluate.visualize", "pictures of what a model looks for: channels, neurons, layers, texts"),
    "scaling": ("trainer.evaluate.scaling", "error of many checkpoints against their compute"),
    "report": ("trainer.evaluate.report", "all of it for one checkpoint and a folder of sets, as one page"),
}


def usage() -> str:
    """What `trainer --help` prints."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {what}" for name, (_, what) in COMMANDS.items()]
    return "\n".join(["usage: trainer COMMAND …", "", *lines, "", "trainer COMMAND --help says more."])


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns its exit code."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(__version__)
        return 0
    if arguments[0] not in COMMANDS:
        print(f"error: no command {arguments[0]!r}\n\n{usage()}", file=sys.stderr)
        return 2
    return importlib.import_module(COMMANDS[arguments[0]][0]).main(arguments[1:]) or 0


def main() -> None:
    """Entry point: errors the user can mend end in one line, not in a traceback."""
    exit_with(lambda: run(sys.argv[1:]))


if __name__ == "__main__":
    main()

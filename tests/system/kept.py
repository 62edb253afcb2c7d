"""Figures that a long measurement keeps as it goes: whole or not at all, so that a stop of it between two of them loses
nothing, and the next call goes on from there."""
import json
import os


def load(path, fresh):
    if fresh or not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def keep(path, kept):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump(kept, file, indent=1, sort_keys=True)
        file.write("\n")
    os.replace(path + ".new", path)

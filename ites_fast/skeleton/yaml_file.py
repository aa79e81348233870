"""Skeletons of users, described in YAML. The format is in docs/SKELETONS.md.

The text is parsed to YAML's nodes and never further: no tag builds an object. Anchors are refused, since their aliases
can make a small file grow without end.
"""

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import NoReturn

from ites_fast.errors import InputError
from ites_fast.skeleton.registry import SKELETONS, VOCABULARY
from ites_fast.skeleton.skeleton import Skeleton
from ites_fast.skeleton.tables import mirror_pairs

SUFFIXES = (".yaml", ".yml")
MAX_BYTES = 65536  # the 133 joints of COCO-WholeBody take 8 kB
MAX_DEPTH = 8
KEYS = ("name", "joints", "pairs", "links", "head", "mapping")
BODY = tuple(word for word in VOCABULARY if not any(part in word for part in ("face", "hand", "_1", "_2", "_3", "_4")))
PLAIN_TAGS = tuple(f"tag:yaml.org,2002:{kind}" for kind in ("str", "null", "bool", "int", "float", "seq", "map"))


def read_skeleton(path: Path) -> Skeleton:
    """The skeleton that a YAML file describes.

    Raises:
        InputError: the file cannot be read, is no YAML, or does not describe a skeleton; the message has the line.
    """
    return _Reader(path).read()


@dataclass(frozen=True)
class _Reader:
    path: Path

    def read(self) -> Skeleton:
        content = self._mapping(self._compose(), "the file", KEYS)
        for key in ("name", "joints"):
            if key not in content:
                raise InputError(f"{self.path}: has no {key!r}; expected the keys {', '.join(KEYS)}")
        name = self._text(content["name"], "name")
        if name in SKELETONS:
            self._fail(content["name"], f"the name {name} is that of a built-in skeleton, expected another")
        joint_names, parents = self._joints(content["joints"])
        index = {joint: number for number, joint in enumerate(joint_names)}
        left, right = self._pairs(content.get("pairs"), index, content["joints"])
        return Skeleton(
            name=name,
            joint_names=joint_names,
            parents=parents,
            left=left,
            right=right,
            head=self._joint(content["head"], index, "head") if "head" in content else None,
            links=self._couples(content.get("links"), index, "links"),
            mapping=self._meanings(content.get("mapping"), index),
        )

    def _compose(self):
        """The root node of the only document, checked for what a description has no need of."""
        import yaml

        try:
            with self.path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read ({error.strerror}), expected a skeleton in YAML") from error
        if len(data) > MAX_BYTES:
            raise InputError(f"{self.path}: longer than {MAX_BYTES} bytes, expected a skeleton in YAML")
        opening = (yaml.BlockMappingStartToken, yaml.BlockSequenceStartToken)
        opening += (yaml.FlowMappingStartToken, yaml.FlowSequenceStartToken)
        closing = (yaml.BlockEndToken, yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)
        depth = 0
        try:
            for token in yaml.scan(data, yaml.SafeLoader):
                depth += isinstance(token, opening) - isinstance(token, closing)
                if depth > MAX_DEPTH:
                    self._fail(token, f"nested more than {MAX_DEPTH} deep")
                if isinstance(token, yaml.AliasToken | yaml.AnchorToken):
                    self._fail(token, "anchors and aliases (& and *) are not accepted")
            node = yaml.compose(data, yaml.SafeLoader)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = "" if mark is None else f"line {mark.line + 1}: "
            problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be parsed"
            raise InputError(f"{self.path}: {where}not YAML: {problem}") from error
        if node is None:
            raise InputError(f"{self.path}: empty, expected the keys {', '.join(KEYS)}")
        return node

    def _joints(self, node) -> tuple[tuple[str, ...], tuple[int, ...]]:
        parent_nodes: dict[str, object] = {}  # by joint, None for a root
        for item in self._sequence(node, "joints"):
            entry = self._mapping(item, "a joint", ("name", "parent"))
            if "name" not in entry:
                self._fail(item, "a joint has no 'name'")
            joint = self._text(entry["name"], "a joint's name")
            if joint in parent_nodes:
                self._fail(item, f"the joint {joint} is there twice")
            parent = entry.get("parent")
            parent_nodes[joint] = None if parent is None or parent.tag.endswith(":null") else parent
        if not parent_nodes:
            self._fail(node, "joints is empty")
        index = {joint: number for number, joint in enumerate(parent_nodes)}
        parents = tuple(
            -1 if parent is None else self._joint(parent, index, f"the parent of {joint}")
            for joint, parent in parent_nodes.items()
        )
        self._check_tree(node, tuple(index), parents)
        return tuple(index), parents

    def _check_tree(self, node, joint_names: tuple[str, ...], parents: tuple[int, ...]) -> None:
        safe: set[int] = {-1}
        for start in range(len(parents)):
            path = []
            joint = start
            while joint not in safe and joint not in path:
                path.append(joint)
                joint = parents[joint]
            if joint not in safe:
                cycle = [joint_names[member] for member in [*path[path.index(joint) :], joint]]
                self._fail(node, f"the parents form a cycle: {' -> '.join(cycle)}; expected a tree with one root")
            safe.update(path)
        roots = [joint_names[joint] for joint, parent in enumerate(parents) if parent < 0]
        if len(roots) > 1:
            self._fail(node, f"{len(roots)} joints have no parent ({', '.join(roots)}), expected one root")

    def _pairs(self, node, index: dict[str, int], joints) -> tuple[tuple[int, ...], tuple[int, ...]]:
        if node is not None:
            pairs = self._couples(node, index, "pairs")
            members = [joint for pair in pairs for joint in pair]
            twice = [joint for joint in index if members.count(index[joint]) > 1]
            if twice:
                self._fail(node, f"pairs: {twice[0]} is there twice")
        else:
            mirror = mirror_pairs(tuple(index))
            wanted = mirror | {name: "left_" + name[6:] for name in index if name.startswith("right_")}
            for joint, other in wanted.items():
                if other not in index:
                    self._fail(joints, f"{joint} has no {other}; expected both, or 'pairs' that say what is mirrored")
            pairs = tuple((index[a], index[b]) for a, b in mirror.items())
        return tuple(a for a, _ in pairs), tuple(b for _, b in pairs)

    def _meanings(self, node, index: dict[str, int]) -> tuple[tuple[str, tuple[int, ...]], ...]:
        if node is None:
            return ()
        found = []
        for word, value in self._mapping(node, "mapping").items():
            if word not in VOCABULARY:
                near = get_close_matches(word, VOCABULARY, 3)
                hint = f"perhaps {' or '.join(near)}" if near else f"expected one of {', '.join(BODY)}, ..."
                self._fail(value, f"mapping: {word!r} is no word of the vocabulary, {hint}")
            items = self._sequence(value, f"mapping: {word}") if value.id == "sequence" else [value]
            joints = tuple(self._joint(item, index, f"mapping: {word}") for item in items)
            if not joints or len(set(joints)) < len(joints):
                self._fail(value, f"mapping: {word}: expected one joint or several different ones")
            found.append((word, joints))
        return tuple(found)

    def _couples(self, node, index: dict[str, int], what: str) -> tuple[tuple[int, int], ...]:
        couples = []
        for item in [] if node is None else self._sequence(node, what):
            couple = [self._joint(joint, index, what) for joint in self._sequence(item, f"an item of {what}")]
            if len(couple) != 2 or couple[0] == couple[1]:
                self._fail(item, f"{what}: expected two different joints")
            couples.append((couple[0], couple[1]))
        return tuple(couples)

    def _joint(self, node, index: dict[str, int], what: str) -> int:
        name = self._text(node, what)
        if name not in index:
            near = get_close_matches(name, index, 3) or index
            self._fail(node, f"{what}: unknown joint {name!r}, expected one of {', '.join(near)}")
        return index[name]

    def _text(self, node, what: str) -> str:
        self._check_tag(node)
        if node.id != "scalar" or not node.tag.endswith(":str") or not node.value.isprintable() or not node.value:
            received = repr(node.value[:40]) if node.id == "scalar" else f"a {node.id}"
            self._fail(node, f"{what}: expected text, received {received}")
        return node.value

    def _sequence(self, node, what: str) -> list:
        self._check_tag(node)
        if node.id != "sequence":
            self._fail(node, f"{what}: expected a list, received a {node.id}")
        return node.value

    def _mapping(self, node, what: str, allowed: tuple[str, ...] | None = None) -> dict:
        self._check_tag(node)
        if node.id != "mapping":
            self._fail(node, f"{what}: expected keys with values, received a {node.id}")
        found = {}
        for key_node, value in node.value:
            key = self._text(key_node, f"a key of {what}")
            if key in found:
                self._fail(key_node, f"the key {key!r} is there twice")
            if allowed is not None and key not in allowed:
                self._fail(key_node, f"unknown key {key!r}, expected {', '.join(allowed)}")
            found[key] = value
        return found

    def _check_tag(self, node) -> None:
        if node.tag not in PLAIN_TAGS:
            self._fail(node, f"the tag {node.tag} is not accepted, expected plain text, lists and keys")

    def _fail(self, node, problem: str) -> NoReturn:
        raise InputError(f"{self.path}: line {node.start_mark.line + 1}: {problem}")

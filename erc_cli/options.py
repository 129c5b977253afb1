"""The keyword-only signature of a plugin's `build` or `train` is the schema of its options."""

from __future__ import annotations

import enum
import inspect
import math
import os
import reprlib
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from erc_cli.errors import UsageError, nearest

#: What the pipeline hands to `build` when its signature asks for it; never an option of a preset.
GIVEN = frozenset({"device", "precision", "labels", "dims", "heads"})
#: for `schema` and `bind` of what is supplied with nothing, such as a data set's `open`
NOTHING: frozenset[str] = frozenset()

_FALLBACK = {**vars(typing), "Path": Path, "Sequence": Sequence, "Mapping": Mapping}
_SHORT = reprlib.Repr()
_SHORT.maxlevel = 2
_SHORT.maxstring = _SHORT.maxother = 60
_FLOAT_HINT = "12, 0.5 or 1e-4"
_MODEL = "file, folder or model"


class WrongValueError(Exception):
    """A value does not fit its annotation; `missing_file` when it names a file that is not there.

    `get`: what to type to have the model that the value names.
    """

    def __init__(self, message: str, *, missing_file: bool = False, get: str = "") -> None:
        super().__init__(message)
        self.missing_file = missing_file
        self.get = get


@dataclass(frozen=True, slots=True)
class Between:
    """A range for a number: `frames: Annotated[int, Between(1)]`; None is no limit.

    `exclusive`: the limits themselves are outside. Infinity and NaN are in no range.
    """

    low: float | None = None
    high: float | None = None
    exclusive: bool = False

    def holds(self, value: float) -> bool:
        """Whether `value` is a number within the range."""
        if not math.isfinite(value):
            return False
        if self.exclusive and value in (self.low, self.high):
            return False
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)

    def __str__(self) -> str:
        """The range in a user's words, to stand behind the name of a type."""
        if self.low is not None and self.high is not None:
            first, then = ("between", "and") if self.exclusive else ("from", "to")
            return f"{first} {self.low:g} {then} {self.high:g}"
        if self.low is not None:
            return f"above {self.low:g}" if self.exclusive else f"of at least {self.low:g}"
        if self.high is not None:
            return f"below {self.high:g}" if self.exclusive else f"of at most {self.high:g}"
        return "that is finite"


@dataclass(frozen=True, slots=True)
class Model:
    """A mark: `weights: Annotated[Path, Model()]` takes a file, a folder or the name of a model.

    A file or folder relative to the preset's comes first, then `erc_cli.model_store.find_model`; it
    reaches the plugin as a Path.
    """


@dataclass(frozen=True, slots=True)
class Option:
    """One option: `type` is the evaluated annotation, Any where there is none."""

    name: str
    type: Any
    required: bool
    default: Any = None

    @property
    def type_name(self) -> str:
        """The type in a user's words: `int`, `file`, `'a' | 'b'`, `list of float`."""
        return type_name(self.type)

    @property
    def takes_file(self) -> bool:
        """Whether the option is one file (or model), or none."""
        return any(one is Path for one in _within(self.type))


@dataclass(frozen=True, slots=True)
class Complaint:
    """What is wrong with one option; `left_out`: it is required and was not given.

    `get`: it names a model that is not here, and this is what to type to have it.
    """

    option: str
    message: str
    missing_file: bool = False
    left_out: bool = False
    get: str = ""


def schema(function: Callable[..., object], supplied: Set[str] = GIVEN) -> Mapping[str, Option]:
    """Options by name: keyword-only parameters, in order, without the `supplied` ones.

    A data set's `open` is supplied with nothing: all its parameters are options.
    """
    return {
        p.name: Option(
            p.name,
            _annotation(function, p),
            p.default is p.empty,
            None if p.default is p.empty else p.default,
        )
        for p in inspect.signature(function).parameters.values()
        if p.kind is p.KEYWORD_ONLY and p.name not in supplied
    }


def given(function: Callable[..., object]) -> frozenset[str]:
    """Which of `GIVEN` the function asks for."""
    return GIVEN & set(inspect.signature(function).parameters)


def bind(
    function: Callable[..., object], values: Mapping[str, Any], folder: Path, supplied: Set[str] = GIVEN
) -> tuple[dict[str, Any], list[Complaint]]:
    """Values fit for the call (files resolved against `folder`), and all that is wrong with them."""
    known = schema(function, supplied)
    bound: dict[str, Any] = {}
    wrong: list[Complaint] = []
    for name, value in values.items():
        if name not in known:
            wrong.append(Complaint(name, _unknown(name, known, supplied)))
            continue
        try:
            bound[name] = convert(value, known[name].type, folder)
        except WrongValueError as error:
            wrong.append(Complaint(name, str(error), error.missing_file, get=error.get))
    for option in known.values():
        if option.required and option.name not in values:
            wrong.append(Complaint(option.name, f"is required ({option.type_name})", left_out=True))
    return bound, wrong


def _unknown(name: str, known: Mapping[str, Option], supplied: Set[str]) -> str:
    if name in supplied:
        return "is set by erc itself, not by a preset"
    return f"unknown option.{nearest(name, known) or _choices(known)}"


def _choices(known: Iterable[str]) -> str:
    words = list(known)
    return f" Options: {', '.join(words)}" if words else " There are no options"


def convert(value: Any, wanted: Any, folder: Path) -> Any:
    """`value` as the annotation `wanted` asks; raises WrongValueError.

    An int serves as a float, a list as a tuple, text as an Enum's value or as a file's name.
    """
    if wanted is Any or wanted is object or wanted is inspect.Parameter.empty:
        return value
    origin = get_origin(wanted)
    if origin is typing.Annotated:
        return _ranged(value, wanted, folder)
    if origin in (Union, types.UnionType):
        return _union(value, wanted, folder)
    if origin is Literal:
        return _literal(value, wanted)
    if origin is None and isinstance(wanted, type):
        return _plain(value, wanted, folder)
    if isinstance(origin, type):
        return _container(value, wanted, origin, folder)
    return value  # an annotation beyond us: the plugin's own matter


def _ranged(value: Any, wanted: Any, folder: Path) -> Any:
    """As the annotation inside `Annotated`: within every `Between` beside it, found for a `Model`."""
    inner, *beside = get_args(wanted)
    if any(isinstance(one, Model) for one in beside):
        return _model(value, folder)
    made = convert(value, inner, folder)
    numeric = isinstance(made, int | float)
    if numeric and not all(one.holds(made) for one in beside if isinstance(one, Between)):
        raise _expected(wanted, value)
    return made


def _plain(value: Any, wanted: type, folder: Path) -> Any:
    if wanted is types.NoneType:
        fits = value is None
    elif issubclass(wanted, enum.Enum):
        return _enum(value, wanted)
    elif wanted is float:
        return _float(value)
    elif issubclass(Path, wanted):
        return _file(value, folder)
    elif issubclass(wanted, list | tuple | set | frozenset | Mapping):
        return _container(value, wanted, wanted, folder)
    else:
        # True is an int to Python, but nobody who writes `layers: yes` means 1.
        fits = isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool))
    if not fits:
        raise _expected(wanted, value)
    return value


def _float(value: Any) -> float:
    number = math.nan
    # YAML 1.1 reads 1e-4 as text: only 1.0e-4 is a number to it.
    text = value.strip() if isinstance(value, str) else ""
    if (isinstance(value, int | float) and not isinstance(value, bool)) or (text and "_" not in text):
        with suppress(ValueError, OverflowError):
            number = float(value)
    if not math.isnan(number):
        return number
    raise WrongValueError(f"expected a number such as {_FLOAT_HINT}, got {shown(value)}")


def _file(value: Any, folder: Path) -> Path:
    if not isinstance(value, str | Path) or not str(value):
        raise _expected(Path, value)
    path = folder / value
    if not path.exists():
        raise WrongValueError(f"no such file: {path}", missing_file=True)
    if not os.access(path, os.R_OK):
        raise WrongValueError(f"not readable: {path}", missing_file=True)
    return path.resolve()


def _model(value: Any, folder: Path) -> Path:
    if not isinstance(value, str | Path) or not str(value):
        raise WrongValueError(f"expected {_MODEL}, got {shown(value)}")
    if (folder / value).exists():
        return _file(value, folder)
    from erc_cli.model_store import find_model

    try:
        return find_model(str(value)).resolve()
    except UsageError as error:
        get = (error.hint or "").partition("Type: ")[2]
        if get:
            said = f"{error.message.rstrip('.')}: {get}"
            raise WrongValueError(said, missing_file=True, get=get) from None
        if Path(value).suffix or Path(value).is_absolute():
            return _file(value, folder)  # which says that it is not there
        raise WrongValueError(f"{error.message} {error.hint}") from None


def _enum(value: Any, wanted: type[enum.Enum]) -> enum.Enum:
    found = next((member for member in wanted if member is value or member.value == value), None)
    if found is None:
        words = [str(member.value) for member in wanted]
        raise WrongValueError(
            f"expected one of {', '.join(words)}, got {shown(value)}.{nearest(str(value), words)}"
        )
    return found


def _literal(value: Any, wanted: Any) -> Any:
    choices = get_args(wanted)
    if not any(value == c and type(value) is type(c) for c in choices):
        words = [str(choice) for choice in choices]
        raise WrongValueError(
            f"expected {type_name(wanted)}, got {shown(value)}.{nearest(str(value), words)}"
        )
    return value


def _union(value: Any, wanted: Any, folder: Path) -> Any:
    failed = []
    for choice in get_args(wanted):
        try:
            return convert(value, choice, folder)
        except WrongValueError as error:
            failed.append(error)
    missing = next((error for error in failed if error.missing_file), None)
    if missing is not None:
        raise missing
    rest = [choice for choice in get_args(wanted) if choice is not types.NoneType]
    raise failed[get_args(wanted).index(rest[0])] if len(rest) == 1 else _expected(wanted, value)


def _container(value: Any, wanted: Any, origin: type, folder: Path) -> Any:
    inner = get_args(wanted)
    if issubclass(dict, origin) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise _expected(wanted, value)
        key, item = inner or (Any, Any)
        return {convert(k, key, folder): convert(v, item, folder) for k, v in value.items()}
    if not isinstance(value, list | tuple) or not issubclass(origin, typing.Iterable):
        raise _expected(wanted, value)
    if origin is tuple and inner and inner[-1] is not Ellipsis:
        if len(inner) != len(value):
            raise WrongValueError(f"expected {len(inner)} values, got {len(value)}")
        return tuple(convert(v, kind, folder) for v, kind in zip(value, inner, strict=True))
    items = [convert(v, inner[0] if inner else Any, folder) for v in value]
    return origin(items) if origin in (tuple, set, frozenset) else items


def _expected(wanted: Any, value: Any) -> WrongValueError:
    quote = " (put it in quotes)" if wanted is str and isinstance(value, bool | int | float) else ""
    return WrongValueError(f"expected {type_name(wanted)}, got {shown(value)}{quote}")


def shown(value: Any) -> str:
    """A value as an error message may show it: never long, whatever it holds."""
    return _SHORT.repr(value)


def type_name(wanted: Any) -> str:
    """An annotation in a user's words."""
    if wanted is Any or wanted is object or wanted is inspect.Parameter.empty:
        return "any"
    if wanted in (None, types.NoneType):
        return "none"
    origin, inner = get_origin(wanted), get_args(wanted)
    if origin is typing.Annotated and any(isinstance(one, Model) for one in inner[1:]):
        return _MODEL
    if origin is typing.Annotated:
        return " ".join([type_name(inner[0]), *(str(one) for one in inner[1:] if isinstance(one, Between))])
    if origin in (Union, types.UnionType):
        return " | ".join(type_name(choice) for choice in inner)
    if origin is Literal:
        return " | ".join(repr(choice) for choice in inner)
    if isinstance(origin, type):
        kind = "map" if issubclass(origin, Mapping) else "list"
        items = [type_name(choice) for choice in inner if choice is not Ellipsis]
        return f"{kind} of {items[-1] if kind == 'map' else ', '.join(items)}" if items else kind
    if isinstance(wanted, type):
        if issubclass(wanted, enum.Enum):
            return " | ".join(repr(member.value) for member in wanted)
        names = {str: "text", Path: "file", bool: "true | false", dict: "map", tuple: "list"}
        return names.get(wanted, wanted.__name__)
    return str(wanted)


def _within(wanted: Any) -> list[Any]:
    """The types that a union or an `Annotated` is made of, however nested."""
    if get_origin(wanted) not in (Union, types.UnionType, typing.Annotated):
        return [wanted]
    return [part for one in get_args(wanted) for part in _within(one)]


def _annotation(function: Callable[..., object], parameter: inspect.Parameter) -> Any:
    """The annotation of one parameter as an object; Any where its names cannot be found.

    Each is looked up by itself, because a return type such as `Extractor` is often imported for
    type checking only.
    """
    if parameter.annotation is parameter.empty:
        return Any
    plain = inspect.unwrap(getattr(function, "func", function))
    module = sys.modules.get(getattr(plain, "__module__", ""))
    names = {**_FALLBACK, **(vars(module) if module else {}), **getattr(plain, "__globals__", {})}
    holder = types.SimpleNamespace(__annotations__={"it": parameter.annotation})
    try:
        return typing.get_type_hints(holder, globalns=names, include_extras=True)["it"]
    except (NameError, TypeError, AttributeError, SyntaxError):
        return Any
